//! The one program of the test's image, static, with everything that the tests ask of a container.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream, UdpSocket};

/// Asks until the answer begins as expected, for a minute and a half; the last answer.
fn until(expected: &str, mut ask: impl FnMut() -> String) -> String {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(90);
    loop {
        let answer = ask();
        if answer.starts_with(expected) || std::time::Instant::now() > deadline {
            return answer;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// The last line of what an HTTP server says.
fn ask(host: &str, port: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect(format!("{host}:{port}"))?;
    write!(stream, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text.lines().last().unwrap_or_default().to_owned())
}

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["serve", port] => {
            println!("serving on {port}");
            let listener = TcpListener::bind(format!("0.0.0.0:{port}")).expect("a listener");
            for stream in listener.incoming() {
                let mut stream = stream.expect("a connection");
                let mut buffer = [0; 1024];
                let _ = stream.read(&mut buffer);
                let text = std::env::var("GREETING").unwrap_or_else(|_| "hello".into());
                let _ = write!(stream, "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{text}", text.len());
            }
        }
        // Asks until this is the answer: who is to answer may not listen yet.
        ["get", host, port, expected] => println!("{}", until(expected, || ask(host, port).unwrap_or_else(|error| error.to_string()))),
        // A query for an A record, by hand: a static program has no resolver. Asked until this is the answer: datagrams get lost, and
        // what the server is to know has been written only just now.
        ["resolve", name, expected] => {
            let server = std::fs::read_to_string("/etc/resolv.conf").expect("resolv.conf");
            let server = server.lines().find_map(|line| line.strip_prefix("nameserver ")).expect("a server").to_owned();
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(std::time::Duration::from_millis(500))).expect("set");
            let mut query = vec![0, 7, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
            for label in name.split('.') {
                query.push(label.len() as u8);
                query.extend(label.as_bytes());
            }
            query.extend([0, 0, 1, 0, 1]);
            println!("{}", until(expected, || {
                socket.send_to(&query, format!("{server}:53")).expect("sent");
                let mut buffer = [0; 512];
                let Ok(length) = socket.recv(&mut buffer) else { return "no answer".into() };
                let tail = &buffer[length - 4..length];
                format!("code {} address {}.{}.{}.{}", buffer[3] & 15, tail[0], tail[1], tail[2], tail[3])
            }));
        }
        ["show"] => {
            println!("ip {} node {} uid {}", std::env::var("POD_IP").unwrap_or_default(), std::env::var("NODE_IP").unwrap_or_default(), std::fs::read_to_string("/proc/self/status").expect("status").lines().find_map(|l| l.strip_prefix("Uid:\t")).and_then(|l| l.split('\t').next()).unwrap_or_default().to_owned());
            println!("file {}", std::fs::read_to_string("/etc/config/key").unwrap_or_default());
            println!("readonly {}", std::fs::write("/denied", "x").is_err());
            println!("empty {}", std::fs::write("/scratch/x", "x").is_ok());
            std::fs::write("/dev/termination-log", "done showing").expect("a message");
        }
        // Whether there is a way to a port. Tried until it is as expected, for what has just been written is not at once in force.
        ["try", host, port, expected] => {
            let address = format!("{host}:{port}").parse().expect("an address");
            println!("{}", until(expected, || match TcpStream::connect_timeout(&address, std::time::Duration::from_millis(400)) {
                Ok(_) => "open".to_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::ConnectionRefused => "refused".to_owned(),
                Err(error) if error.kind() == std::io::ErrorKind::TimedOut => "nothing".to_owned(),
                Err(error) => error.to_string(),
            }));
        }
        ["udp-serve", port] => {
            let socket = UdpSocket::bind(format!("0.0.0.0:{port}")).expect("a socket");
            let mut buffer = vec![0; 65_536];
            loop {
                let (length, from) = socket.recv_from(&mut buffer).expect("received");
                let name = std::env::var("GREETING").unwrap_or_default();
                let text = format!("{name}{} bytes from {}", length, from.ip());
                socket.send_to(text.as_bytes(), from).expect("sent");
            }
        }
        ["udp", host, port, size, expected] => {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(std::time::Duration::from_millis(800))).expect("set");
            let mut buffer = vec![0; 65_536];
            println!("{}", until(expected, || {
                let _ = socket.send_to(&vec![b'x'; size.parse().expect("a number")], format!("{host}:{port}"));
                match socket.recv_from(&mut buffer) {
                    Ok((length, _)) => String::from_utf8_lossy(&buffer[..length]).into_owned(),
                    Err(_) => "nothing".to_owned(),
                }
            }));
        }
        // Asks again and again from the same port, and says when the answer is another one.
        ["udp-watch", host, port] => {
            let socket = UdpSocket::bind("0.0.0.0:0").expect("a socket");
            socket.set_read_timeout(Some(std::time::Duration::from_millis(100))).expect("set");
            let (mut buffer, mut last) = ([0; 512], String::new());
            loop {
                let _ = socket.send_to(b"x", format!("{host}:{port}"));
                let Ok((length, _)) = socket.recv_from(&mut buffer) else { continue };
                let now = String::from_utf8_lossy(&buffer[..length]).into_owned();
                if now != last {
                    println!("{now}");
                    last = now;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        ["processes"] => {
            let mut names: Vec<String> = std::fs::read_dir("/proc").expect("proc").flatten()
                .filter(|entry| entry.file_name().to_string_lossy().bytes().all(|b| b.is_ascii_digit()))
                .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok())
                .map(|line| String::from_utf8_lossy(&line).replace('\0', " ").trim().to_owned()).collect();
            names.sort();
            println!("{}", names.join(","));
        }
        ["eat", megabytes] => {
            let mut all: Vec<Vec<u8>> = Vec::new();
            for _ in 0..megabytes.parse::<usize>().expect("a number") {
                all.push(vec![1; 1 << 20]);
            }
            println!("ate {}", all.len());
        }
        ["cat", path] => print!("{}", std::fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n"))),
        ["watch", path] => {
            let mut last = String::new();
            loop {
                let now = std::fs::read_to_string(path).unwrap_or_default();
                if now != last {
                    println!("{now}");
                    last = now;
                }
                std::thread::sleep(std::time::Duration::from_millis(20));
            }
        }
        ["write", path, text] => std::fs::write(path, text).expect("written"),
        ["sleep"] => loop { std::thread::sleep(std::time::Duration::from_secs(60)) },
        // Ends once, and when started again stays.
        ["once", path, code] => {
            if std::fs::metadata(path).is_err() {
                std::fs::write(path, "x").expect("written");
                std::process::exit(code.parse().expect("a number"));
            }
            loop { std::thread::sleep(std::time::Duration::from_secs(60)) }
        }
        ["stat", path] => {
            use std::os::unix::fs::MetadataExt;
            let stat = std::fs::metadata(path).expect("there");
            println!("{:o} {}", stat.mode() & 0o7777, stat.gid());
        }
        ["owner", path] => {
            use std::os::unix::fs::{MetadataExt, chown};
            std::fs::write(path, "x").expect("written");
            chown(path, Some(1234), Some(1235)).expect("given away");
            let stat = std::fs::metadata(path).expect("there");
            println!("{}:{}", stat.uid(), stat.gid());
        }
        ["input"] => {
            let mut text = Vec::new();
            std::io::stdin().read_to_end(&mut text).expect("read");
            println!("{} bytes", text.len());
        }
        ["exit", code] => std::process::exit(code.parse().expect("a number")),
        ["spell", text] => println!("{text}"),
        other => panic!("what is {other:?}?"),
    }
}
