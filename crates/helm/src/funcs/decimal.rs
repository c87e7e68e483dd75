//! Decimals as `shopspring/decimal` computes them, for `addf`, `mulf` and their like.
//!
//! A decimal is an integer of base 10^9 digits times a power of ten; division keeps 16 places behind the point.

/// A decimal number.
#[derive(Debug, Clone)]
pub struct Decimal {
    negative: bool,
    /// Least significant first, base 10^9; empty is zero.
    digits: Vec<u32>,
    exponent: i32,
}

const BASE: u64 = 1_000_000_000;
/// Places behind the point that a quotient keeps.
const DIVISION_PRECISION: i32 = 16;

fn trim(digits: &mut Vec<u32>) {
    while digits.last() == Some(&0) {
        digits.pop();
    }
}

fn compare(a: &[u32], b: &[u32]) -> std::cmp::Ordering {
    a.len().cmp(&b.len()).then_with(|| a.iter().rev().cmp(b.iter().rev()))
}

fn plus(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = Vec::with_capacity(a.len().max(b.len()) + 1);
    let mut carry = 0u64;
    for i in 0..a.len().max(b.len()) {
        let sum = carry + u64::from(a.get(i).copied().unwrap_or(0)) + u64::from(b.get(i).copied().unwrap_or(0));
        out.push((sum % BASE) as u32);
        carry = sum / BASE;
    }
    if carry > 0 {
        out.push(carry as u32);
    }
    out
}

fn minus(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = Vec::with_capacity(a.len());
    let mut borrow = 0i64;
    for (i, &d) in a.iter().enumerate() {
        let mut diff = i64::from(d) - borrow - i64::from(b.get(i).copied().unwrap_or(0));
        borrow = 0;
        if diff < 0 {
            diff += BASE as i64;
            borrow = 1;
        }
        out.push(diff as u32);
    }
    trim(&mut out);
    out
}

fn times(a: &[u32], b: &[u32]) -> Vec<u32> {
    let mut out = vec![0u32; a.len() + b.len() + 1];
    for (i, &x) in a.iter().enumerate() {
        let mut carry = 0u64;
        for (j, &y) in b.iter().enumerate() {
            let value = u64::from(x) * u64::from(y) + u64::from(out[i + j]) + carry;
            out[i + j] = (value % BASE) as u32;
            carry = value / BASE;
        }
        let mut k = i + b.len();
        while carry > 0 {
            let value = u64::from(out[k]) + carry;
            out[k] = (value % BASE) as u32;
            carry = value / BASE;
            k += 1;
        }
    }
    trim(&mut out);
    out
}

fn power_of_ten(n: u32) -> Vec<u32> {
    let mut out = vec![0u32; (n / 9) as usize];
    out.push(10u32.pow(n % 9));
    out
}

/// Schoolbook division by comparison of multiples: the numbers are short.
fn divide(a: &[u32], b: &[u32]) -> (Vec<u32>, Vec<u32>) {
    let mut quotient = vec![0u32; a.len()];
    let mut rest: Vec<u32> = Vec::new();
    for i in (0..a.len()).rev() {
        rest.insert(0, a[i]);
        trim(&mut rest);
        let (mut low, mut high) = (0u64, BASE - 1);
        while low < high {
            let middle = (low + high).div_ceil(2);
            if compare(&times(b, &[middle as u32]), &rest).is_gt() {
                high = middle - 1;
            } else {
                low = middle;
            }
        }
        quotient[i] = low as u32;
        if low > 0 {
            rest = minus(&rest, &times(b, &[low as u32]));
        }
    }
    trim(&mut quotient);
    (quotient, rest)
}

fn text(digits: &[u32]) -> String {
    let Some((last, rest)) = digits.split_last() else { return "0".to_owned() };
    let mut out = last.to_string();
    rest.iter().rev().for_each(|d| out.push_str(&format!("{d:09}")));
    out
}

impl Decimal {
    /// The shortest decimal that reads as the float; what is not finite counts as zero.
    pub fn from_float(f: f64) -> Decimal {
        if !f.is_finite() || f == 0.0 {
            return Decimal { negative: false, digits: Vec::new(), exponent: 0 };
        }
        let text = format!("{:e}", f.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let value: u64 = format!("{whole}{fraction}").parse().unwrap_or(0);
        let exponent: i32 = exponent.parse::<i32>().unwrap_or(0) - fraction.len() as i32;
        let mut digits = vec![(value % BASE) as u32, (value / BASE % BASE) as u32, (value / BASE / BASE) as u32];
        trim(&mut digits);
        Decimal { negative: f < 0.0, digits, exponent }
    }

    fn at(&self, exponent: i32) -> Vec<u32> {
        let places = self.exponent.saturating_sub(exponent).max(0) as u32;
        if places == 0 { self.digits.clone() } else { times(&self.digits, &power_of_ten(places)) }
    }

    fn combine(&self, other: &Decimal, flip: bool) -> Decimal {
        let exponent = self.exponent.min(other.exponent);
        let (a, b) = (self.at(exponent), other.at(exponent));
        let b_negative = other.negative != flip;
        let (negative, digits) = if self.negative == b_negative {
            (self.negative, plus(&a, &b))
        } else {
            match compare(&a, &b) {
                std::cmp::Ordering::Less => (b_negative, minus(&b, &a)),
                _ => (self.negative, minus(&a, &b)),
            }
        };
        Decimal { negative, digits, exponent }
    }

    /// The sum.
    pub fn add(&self, other: &Decimal) -> Decimal {
        self.combine(other, false)
    }

    /// The difference.
    pub fn sub(&self, other: &Decimal) -> Decimal {
        self.combine(other, true)
    }

    /// The product.
    pub fn mul(&self, other: &Decimal) -> Decimal {
        Decimal {
            negative: self.negative != other.negative,
            digits: times(&self.digits, &other.digits),
            exponent: self.exponent + other.exponent,
        }
    }

    /// The quotient, rounded half up in its 16th place.
    pub fn div(&self, other: &Decimal) -> Decimal {
        if other.digits.is_empty() {
            return Decimal { negative: false, digits: Vec::new(), exponent: 0 };
        }
        let shift = self.exponent - other.exponent + DIVISION_PRECISION;
        let (a, b) = if shift >= 0 {
            (times(&self.digits, &power_of_ten(shift as u32)), other.digits.clone())
        } else {
            (self.digits.clone(), times(&other.digits, &power_of_ten(shift.unsigned_abs())))
        };
        let (mut quotient, rest) = divide(&a, &b);
        if compare(&plus(&rest, &rest), &b).is_ge() {
            quotient = plus(&quotient, &[1]);
        }
        Decimal { negative: self.negative != other.negative, digits: quotient, exponent: -DIVISION_PRECISION }
    }

    /// The nearest float.
    pub fn to_float(&self) -> f64 {
        let sign = if self.negative && !self.digits.is_empty() { "-" } else { "" };
        format!("{sign}{}e{}", text(&self.digits), self.exponent).parse().unwrap_or(0.0)
    }
}
