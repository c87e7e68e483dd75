//! `--chmod`: octal and symbolic modes. Pure.

/// `--chmod`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Chmod {
    /// Octal.
    Bits(u32),
    /// `u=rwX,go-w` clauses.
    Symbolic(Vec<Clause>),
}

/// One clause of a symbolic mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Clause {
    who: u32,
    operator: char,
    rights: Vec<char>,
}

impl Chmod {
    /// Reads an octal or symbolic mode.
    pub fn parse(text: &str) -> Option<Chmod> {
        if let Ok(bits) = u32::from_str_radix(text, 8) {
            return (bits <= 0o7777).then_some(Chmod::Bits(bits));
        }
        let mut clauses = Vec::new();
        for part in text.split(',') {
            let at = part.find(['+', '-', '='])?;
            let mut who = 0;
            for c in part[..at].chars() {
                who |= match c {
                    'u' => 0o4700,
                    'g' => 0o2070,
                    'o' => 0o1007,
                    'a' => 0o7777,
                    _ => return None,
                };
            }
            if at == 0 {
                who = 0o7777;
            }
            let operator = part[at..].chars().next()?;
            let rights: Vec<char> = part[at + 1..].chars().collect();
            if rights.iter().any(|c| !matches!(c, 'r' | 'w' | 'x' | 'X' | 's' | 't' | 'u' | 'g' | 'o')) {
                return None;
            }
            clauses.push(Clause { who, operator, rights });
        }
        (!clauses.is_empty()).then_some(Chmod::Symbolic(clauses))
    }

    /// The new mode.
    pub fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        match self {
            Chmod::Bits(bits) => *bits,
            Chmod::Symbolic(clauses) => clauses.iter().fold(mode, |mode, clause| clause.apply(mode, is_dir)),
        }
    }
}

impl Clause {
    fn apply(&self, mode: u32, is_dir: bool) -> u32 {
        let spread = |bits: u32| bits | bits << 3 | bits << 6;
        let mut bits = 0;
        for right in &self.rights {
            bits |= match right {
                'r' => 0o444,
                'w' => 0o222,
                'x' => 0o111,
                'X' if is_dir || mode & 0o111 != 0 => 0o111,
                's' => 0o6000,
                't' => 0o1000,
                'u' => spread(mode >> 6 & 7),
                'g' => spread(mode >> 3 & 7),
                'o' => spread(mode & 7),
                _ => 0,
            };
        }
        let bits = bits & self.who;
        match self.operator {
            '+' => mode | bits,
            '-' => mode & !bits,
            _ => mode & !(self.who & 0o777) | bits,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_modes_as_chmod_does() {
        for (text, mode, dir, expected) in [
            ("755", 0o644, false, 0o755),
            ("u+x", 0o644, false, 0o744),
            ("go=", 0o777, false, 0o700),
            ("a+rX", 0o600, true, 0o755),
            ("a+rX", 0o600, false, 0o644),
            ("u=rwx,go=rx", 0, false, 0o755),
            ("+x", 0o644, false, 0o755),
            ("g=u", 0o640, false, 0o660),
        ] {
            assert_eq!(Chmod::parse(text).unwrap().apply(mode, dir), expected, "{text}");
        }
        assert_eq!(Chmod::parse("z+x"), None);
        assert_eq!(Chmod::parse("77777"), None);
    }
}
