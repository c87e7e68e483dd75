//! The pieces of Go's layouts.

#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Chunk {
    Year,
    Year2,
    LongMonth,
    Month,
    NumMonth,
    ZeroMonth,
    LongWeekday,
    Weekday,
    Day,
    UnderDay,
    ZeroDay,
    UnderYearDay,
    ZeroYearDay,
    Hour,
    Hour12,
    ZeroHour12,
    Minute,
    ZeroMinute,
    Second,
    ZeroSecond,
    Pm,
    LowPm,
    Offset { z: bool, parts: u8, colon: bool },
    ZoneName,
    Fraction { digits: usize, trim: bool, separator: char },
}

/// What stands before the first element of a layout, the element, and what follows.
pub(super) fn next_chunk(layout: &str) -> (&str, Option<Chunk>, &str) {
    let offset = |z, parts, colon| Chunk::Offset { z, parts, colon };
    // Longer texts first.
    let table: [(&str, Chunk); 37] = [
        ("January", Chunk::LongMonth),
        ("Jan", Chunk::Month),
        ("Monday", Chunk::LongWeekday),
        ("Mon", Chunk::Weekday),
        ("MST", Chunk::ZoneName),
        ("2006", Chunk::Year),
        ("002", Chunk::ZeroYearDay),
        ("01", Chunk::ZeroMonth),
        ("02", Chunk::ZeroDay),
        ("03", Chunk::ZeroHour12),
        ("04", Chunk::ZeroMinute),
        ("05", Chunk::ZeroSecond),
        ("06", Chunk::Year2),
        ("15", Chunk::Hour),
        ("__2", Chunk::UnderYearDay),
        ("_2", Chunk::UnderDay),
        ("1", Chunk::NumMonth),
        ("2", Chunk::Day),
        ("3", Chunk::Hour12),
        ("4", Chunk::Minute),
        ("5", Chunk::Second),
        ("PM", Chunk::Pm),
        ("pm", Chunk::LowPm),
        ("-070000", offset(false, 3, false)),
        ("-07:00:00", offset(false, 3, true)),
        ("-0700", offset(false, 2, false)),
        ("-07:00", offset(false, 2, true)),
        ("-07", offset(false, 1, false)),
        ("Z070000", offset(true, 3, false)),
        ("Z07:00:00", offset(true, 3, true)),
        ("Z0700", offset(true, 2, false)),
        ("Z07:00", offset(true, 2, true)),
        ("Z07", offset(true, 1, false)),
        ("\u{0}1", Chunk::Year),
        ("\u{0}2", Chunk::Year),
        ("\u{0}3", Chunk::Year),
        ("\u{0}4", Chunk::Year),
    ];
    let bytes = layout.as_bytes();
    for i in 0..bytes.len() {
        if !layout.is_char_boundary(i) {
            continue;
        }
        let rest = &layout[i..];
        if matches!(bytes[i], b'.' | b',') && matches!(bytes.get(i + 1), Some(b'0' | b'9')) {
            let digit = bytes[i + 1];
            let digits = bytes[i + 1..].iter().take_while(|&&b| b == digit).count();
            if !bytes.get(i + 1 + digits).is_some_and(u8::is_ascii_digit) {
                let chunk = Chunk::Fraction { digits, trim: digit == b'9', separator: bytes[i] as char };
                return (&layout[..i], Some(chunk), &layout[i + 1 + digits..]);
            }
        }
        if rest.starts_with("_2006") {
            return (&layout[..i + 1], Some(Chunk::Year), &layout[i + 5..]);
        }
        for (text, chunk) in &table {
            if rest.starts_with(text) {
                if *text == "Jan" && rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) {
                    continue;
                }
                if *text == "Mon" && rest[3..].starts_with(|c: char| c.is_ascii_lowercase()) {
                    continue;
                }
                return (&layout[..i], Some(*chunk), &layout[i + text.len()..]);
            }
        }
    }
    (layout, None, "")
}
