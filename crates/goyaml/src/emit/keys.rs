//! The order of keys.

/// go-yaml's natural order of keys: numbers inside texts by value, other signs before letters.
pub fn key_less(a: &str, b: &str) -> bool {
    if a.is_ascii() && b.is_ascii() {
        return less(a.as_bytes(), b.as_bytes(), |c| c as char);
    }
    let ar: Vec<char> = a.chars().collect();
    let br: Vec<char> = b.chars().collect();
    less(&ar, &br, |c| c)
}

fn less<T: Copy + PartialEq>(a: &[T], b: &[T], char_of: impl Fn(T) -> char) -> bool {
    let digit = |c: char| c.is_ascii_digit() || (!c.is_ascii() && c.is_numeric());
    for i in 0..a.len().min(b.len()) {
        if a[i] == b[i] {
            continue;
        }
        let (ca, cb) = (char_of(a[i]), char_of(b[i]));
        let (al, bl) = (ca.is_alphabetic(), cb.is_alphabetic());
        if al && bl {
            return ca < cb;
        }
        if al || bl {
            return bl;
        }
        let (mut an, mut bn) = (0i64, 0i64);
        if ca == '0' || cb == '0' {
            for j in (0..i).rev() {
                let c = char_of(a[j]);
                if !digit(c) {
                    break;
                }
                if c != '0' {
                    an = 1;
                    bn = 1;
                    break;
                }
            }
        }
        let number = |s: &[T], mut n: i64| {
            let mut at = i;
            while at < s.len() && digit(char_of(s[at])) {
                n = n.wrapping_mul(10).wrapping_add(char_of(s[at]) as i64 - '0' as i64);
                at += 1;
            }
            (n, at)
        };
        let (an, ai) = number(a, an);
        let (bn, bi) = number(b, bn);
        if an != bn {
            return an < bn;
        }
        if ai != bi {
            return ai < bi;
        }
        return ca < cb;
    }
    a.len() < b.len()
}

/// Sorts by [`key_less`], which is no total order: a sort that needs one could panic.
pub fn sort_keys<T>(items: &mut Vec<T>, key: impl Fn(&T) -> &str + Copy) {
    let ordered = items.windows(2).all(|w| !key_less(key(&w[1]), key(&w[0])));
    if ordered {
        return;
    }
    let n = items.len();
    if n <= 12 {
        for i in 1..n {
            let mut j = i;
            while j > 0 && key_less(key(&items[j]), key(&items[j - 1])) {
                items.swap(j, j - 1);
                j -= 1;
            }
        }
        return;
    }
    let mut right = items.split_off(n / 2);
    sort_keys(items, key);
    sort_keys(&mut right, key);
    let left = std::mem::take(items);
    let mut left = left.into_iter().peekable();
    let mut right = right.into_iter().peekable();
    loop {
        let take_right = match (left.peek(), right.peek()) {
            (Some(l), Some(r)) => key_less(key(r), key(l)),
            (None, Some(_)) => true,
            (Some(_), None) => false,
            (None, None) => return,
        };
        items.extend(if take_right { right.next() } else { left.next() });
    }
}
