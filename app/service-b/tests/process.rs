//! The service as a process: its exit codes and signals.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

fn service() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_service-b"));
    command.env_clear();
    command
}

#[test]
fn a_bad_value_is_one_line_and_exit_code_78() {
    for (variable, value, line) in [
        ("APP_PORT", "many", "service-b: APP_PORT=\"many\": expected a port number from 1 to 65535\n"),
        ("RUST_LOG", "a=b=c", "service-b: RUST_LOG=\"a=b=c\": expected a level such as info\n"),
    ] {
        let output = service().env(variable, value).output().unwrap();
        assert_eq!(output.status.code(), Some(78));
        assert_eq!(String::from_utf8(output.stderr).unwrap(), line);
    }
}

#[test]
fn sigterm_ends_it_with_success() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let mut child = service().env("APP_PORT", free.to_string()).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let listening = lines.next().unwrap().unwrap();
    let line: serde_json::Value = serde_json::from_str(&listening).unwrap();
    assert_eq!(line["message"], "listening");
    assert_eq!(line["level"], "INFO");
    let kill = Command::new("kill").arg("-TERM").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    assert!(child.wait().unwrap().success());
}
