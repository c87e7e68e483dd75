//! Reads YAML texts separated by NUL from standard input and prints, for each, its JSON or its error, then its YAML again.
use std::io::Read;

fn main() -> std::io::Result<()> {
    let mut text = String::new();
    std::io::stdin().read_to_string(&mut text)?;
    for case in text.split('\0') {
        match goyaml::from_str(case) {
            Ok(v) => print!("{v}\u{1}{}\0", goyaml::to_string(&v)),
            Err(e) => print!("error\u{1}{e}\0"),
        }
    }
    Ok(())
}
