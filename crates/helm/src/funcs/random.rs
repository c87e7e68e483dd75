//! Randomness: from the operating system, or from a seed so that a rendering can be repeated.

use rand::rngs::StdRng;
use rand::{RngCore, SeedableRng};

use super::{Answer, Func, Ty, f, n, s};
use crate::template::error::Fault;
use crate::template::exec::Exec;
use crate::value::Value;

/// A source of random numbers.
pub struct Random {
    rng: StdRng,
}

impl Random {
    /// From a seed, or from the operating system.
    pub fn new(seed: Option<u64>) -> Random {
        let rng = match seed {
            Some(seed) => StdRng::seed_from_u64(seed),
            None => StdRng::from_os_rng(),
        };
        Random { rng }
    }

    /// Fills a buffer.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.rng.fill_bytes(bytes);
    }

    /// A number below a bound; 0 for a bound of 0.
    pub fn below(&mut self, bound: u64) -> u64 {
        if bound == 0 {
            return 0;
        }
        // Numbers beyond the last whole multiple would make small ones likelier.
        let limit = u64::MAX - u64::MAX % bound;
        loop {
            let n = self.rng.next_u64();
            if n < limit {
                return n % bound;
            }
        }
    }
}

const I: &[Ty] = &[Ty::Int];

const DIGITS: &str = "0123456789";
const LETTERS: &str = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

/// The functions.
pub const FUNCS: &[Func] = &[
    f("randAlphaNum", I, |e, a| pick(e, n(a, 0), &format!("{LETTERS}{DIGITS}"))),
    f("randAlpha", I, |e, a| pick(e, n(a, 0), LETTERS)),
    f("randNumeric", I, |e, a| pick(e, n(a, 0), DIGITS)),
    f("randAscii", I, |e, a| pick(e, n(a, 0), &(' '..='~').collect::<String>())),
    f("randBytes", I, |e, a| {
        let count = usize::try_from(n(a, 0)).map_err(|_| Fault::text("runtime error: makeslice: len out of range"))?;
        e.charge(count)?;
        let mut bytes = vec![0; count];
        e.host.random.fill(&mut bytes);
        Ok(Value::str(super::encoding::base64(&bytes)))
    }),
    f("shuffle", &[Ty::Str], |e, a| {
        let mut chars: Vec<char> = s(a, 0).chars().collect();
        for i in (1..chars.len()).rev() {
            let j = e.host.random.below(i as u64 + 1) as usize;
            chars.swap(i, j);
        }
        Ok(Value::str(chars.into_iter().collect::<String>()))
    }),
    f("uuidv4", &[], |e, _| {
        let mut bytes = [0; 16];
        e.host.random.fill(&mut bytes);
        Ok(Value::str(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string()))
    }),
];

fn pick(e: &mut Exec<'_>, count: i64, from: &str) -> Answer {
    if count < 0 {
        return Ok(Value::str(""));
    }
    e.charge(count as usize)?;
    crate::value::budget::work(count as u64 / 4);
    let from = from.as_bytes();
    let text: String = (0..count).map(|_| from[e.host.random.below(from.len() as u64) as usize] as char).collect();
    Ok(Value::str(text))
}
