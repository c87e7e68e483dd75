//! DNS messages: reading one question, writing answers (RFC 1035, RFC 2782). Pure.

use std::net::Ipv4Addr;

pub(super) const A: u16 = 1;
pub(super) const CNAME: u16 = 5;
pub(super) const SOA: u16 = 6;
pub(super) const PTR: u16 = 12;
pub(super) const SRV: u16 = 33;
pub(super) const ANY: u16 = 255;

/// What a client asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Question {
    pub(super) id: u16,
    /// Recursion desired.
    pub(super) recursion: bool,
    /// Lower case, without the final dot.
    pub(super) name: String,
    pub(super) kind: u16,
    /// The question section as it came, case kept.
    raw: Vec<u8>,
    /// The longest answer by UDP, in bytes.
    pub(super) udp_size: usize,
}

/// A record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    A(Ipv4Addr),
    Cname(String),
    Ptr(String),
    Srv { port: u16, target: String },
}

/// How an answer ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Code {
    Ok = 0,
    FormatError = 1,
    ServerFailure = 2,
    NoName = 3,
    NotImplemented = 4,
}

/// Reads a query. `Err` carries the id and the code to refuse it with; `None` when it is not even a header.
pub(super) fn parse(message: &[u8]) -> Result<Question, Option<(u16, Code)>> {
    let word = |at: usize| message.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let (Some(id), Some(flags), Some(questions)) = (word(0), word(2), word(4)) else { return Err(None) };
    if message.len() < 12 || flags & 0x8000 != 0 {
        return Err(None);
    }
    if flags & 0x7800 != 0 {
        return Err(Some((id, Code::NotImplemented)));
    }
    let bad = Err(Some((id, Code::FormatError)));
    if questions != 1 {
        return bad;
    }
    let (mut at, mut name) = (12usize, String::new());
    loop {
        let Some(&length) = message.get(at) else { return bad };
        at += 1;
        if length == 0 {
            break;
        }
        // A first question has nothing to point back to.
        let Some(label) = message.get(at..at + usize::from(length)).filter(|_| length < 64) else { return bad };
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(label).to_ascii_lowercase());
        at += usize::from(length);
        if name.len() > 255 {
            return bad;
        }
    }
    let Some(kind) = word(at) else { return bad };
    let Some(raw) = message.get(12..at + 4) else { return bad };
    let mut udp_size = 512;
    // An OPT record, if it is the first after the question (as every resolver sends it).
    if word(10).is_some_and(|additional| additional > 0) && message.get(at + 4..at + 7) == Some(&[0, 0, 41]) {
        udp_size = usize::from(word(at + 7).unwrap_or(512)).clamp(512, 4096);
    }
    Ok(Question { id, recursion: flags & 0x0100 != 0, name, kind, raw: raw.to_vec(), udp_size })
}

/// Writes a refusal that needs no question.
pub(super) fn refusal(id: u16, code: Code) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend((0x8000u16 | code as u16).to_be_bytes());
    out.extend([0; 8]);
    out
}

fn put_name(out: &mut Vec<u8>, name: &str) {
    for label in name.split('.').filter(|label| !label.is_empty()) {
        let bytes = &label.as_bytes()[..label.len().min(63)];
        out.push(bytes.len() as u8);
        out.extend(bytes);
    }
    out.push(0);
}

fn put_record(out: &mut Vec<u8>, owner: &str, kind: u16, ttl: u32, data: impl FnOnce(&mut Vec<u8>)) {
    put_name(out, owner);
    out.extend(kind.to_be_bytes());
    out.extend(1u16.to_be_bytes());
    out.extend(ttl.to_be_bytes());
    let at = out.len();
    out.extend([0; 2]);
    data(out);
    let length = (out.len() - at - 2) as u16;
    out[at..at + 2].copy_from_slice(&length.to_be_bytes());
}

/// Writes an answer; `zone` is named as authority of a negative one. More than `limit` bytes are cut off and marked.
pub(super) fn write(
    question: &Question,
    code: Code,
    answers: &[(String, Data)],
    additional: &[(String, Data)],
    zone: Option<&str>,
    ttl: u32,
    limit: usize,
) -> Vec<u8> {
    let mut out = question.id.to_be_bytes().to_vec();
    let flags = 0x8480u16 | if question.recursion { 0x0100 } else { 0 } | code as u16;
    out.extend(flags.to_be_bytes());
    out.extend([0, 1, 0, 0, 0, 0, 0, 0]);
    out.extend(&question.raw);
    let put = |out: &mut Vec<u8>, (owner, data): &(String, Data)| match data {
        Data::A(address) => put_record(out, owner, A, ttl, |out| out.extend(address.octets())),
        Data::Cname(target) => put_record(out, owner, CNAME, ttl, |out| put_name(out, target)),
        Data::Ptr(target) => put_record(out, owner, PTR, ttl, |out| put_name(out, target)),
        Data::Srv { port, target } => put_record(out, owner, SRV, ttl, |out| {
            out.extend([0, 0, 0, 100]);
            out.extend(port.to_be_bytes());
            put_name(out, target);
        }),
    };
    let mut count = [0u16; 3];
    for record in answers {
        let before = out.len();
        put(&mut out, record);
        if out.len() > limit {
            out.truncate(before);
            out[2] |= 0x02;
            break;
        }
        count[0] += 1;
    }
    if let (Some(zone), true) = (zone, answers.is_empty()) {
        put_record(&mut out, zone, SOA, ttl, |out| {
            put_name(out, &format!("ns.dns.{zone}"));
            put_name(out, &format!("hostmaster.{zone}"));
            for number in [1u32, 7200, 1800, 86400, ttl] {
                out.extend(number.to_be_bytes());
            }
        });
        count[1] = 1;
    }
    for record in additional {
        let before = out.len();
        put(&mut out, record);
        if out.len() > limit {
            out.truncate(before);
            break;
        }
        count[2] += 1;
    }
    for (index, number) in count.iter().enumerate() {
        out[6 + 2 * index..8 + 2 * index].copy_from_slice(&number.to_be_bytes());
    }
    out
}

/// Writes a query for one name, with recursion.
pub(super) fn query(id: u16, name: &str, kind: u16) -> Vec<u8> {
    let mut out = id.to_be_bytes().to_vec();
    out.extend([1, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    put_name(&mut out, name);
    out.extend(kind.to_be_bytes());
    out.extend([0, 1]);
    out
}

/// A name at a position, compressed or not, and the position after it.
fn name_at(message: &[u8], mut at: usize) -> Option<(String, usize)> {
    let (mut name, mut after) = (String::new(), None);
    // A name has at most 127 labels; each jump costs one too, so that this ends.
    for _ in 0..256 {
        let length = usize::from(*message.get(at)?);
        if length & 0xc0 == 0xc0 {
            after = after.or(Some(at + 2));
            at = (length & 0x3f) << 8 | usize::from(*message.get(at + 1)?);
            continue;
        }
        if length == 0 {
            return Some((name, after.unwrap_or(at + 1)));
        }
        if !name.is_empty() {
            name.push('.');
        }
        name.push_str(&String::from_utf8_lossy(message.get(at + 1..at + 1 + length)?).to_ascii_lowercase());
        at += 1 + length;
    }
    None
}

/// The A and CNAME records of an answer, and whether it was cut off.
pub(super) fn answers(message: &[u8]) -> Option<(Vec<(String, Data)>, bool)> {
    let word = |at: usize| message.get(at..at + 2).map(|b| u16::from_be_bytes([b[0], b[1]]));
    let (questions, count) = (word(4)?, word(6)?);
    let mut at = 12;
    for _ in 0..questions {
        at = name_at(message, at)?.1 + 4;
    }
    let mut records = Vec::new();
    for _ in 0..count {
        let (owner, after) = name_at(message, at)?;
        let (kind, length) = (word(after)?, usize::from(word(after + 8)?));
        let data = message.get(after + 10..after + 10 + length)?;
        match (kind, data) {
            (A, [a, b, c, d]) => records.push((owner, Data::A(Ipv4Addr::new(*a, *b, *c, *d)))),
            (CNAME, _) => records.push((owner, Data::Cname(name_at(message, after + 10)?.0))),
            _ => {}
        }
        at = after + 10 + length;
    }
    Some((records, message.get(2)? & 2 != 0))
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(in super::super) fn query(name: &str, kind: u16) -> Vec<u8> {
        let mut out = vec![0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
        put_name(&mut out, name);
        out.extend(kind.to_be_bytes());
        out.extend([0, 1]);
        out
    }

    #[test]
    fn questions() {
        let parsed = parse(&query("Web.Shop.svc", A)).expect("a question");
        assert_eq!((parsed.id, parsed.name.as_str(), parsed.kind, parsed.recursion), (0x1234, "web.shop.svc", A, true));
        assert_eq!(parse(&[1, 2, 3]), Err(None));
        let mut cut = query("web", A);
        cut.truncate(14);
        assert_eq!(parse(&cut), Err(Some((0x1234, Code::FormatError))));
    }

    #[test]
    fn answers_of_others_are_read() {
        let mut message = super::query(7, "www.example.org", A);
        message[7] = 2;
        // www.example.org CNAME example.org (a pointer into the question), example.org A 192.0.2.7.
        message.extend([0xc0, 12, 0, 5, 0, 1, 0, 0, 0, 60, 0, 2, 0xc0, 16]);
        message.extend([0xc0, 16, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 7]);
        let expected = vec![
            ("www.example.org".to_owned(), Data::Cname("example.org".to_owned())),
            ("example.org".to_owned(), Data::A(Ipv4Addr::new(192, 0, 2, 7))),
        ];
        assert_eq!(answers(&message), Some((expected, false)));
        let mut endless = super::query(7, "", A);
        endless[7] = 1;
        endless.extend([0xc0, 17, 0, 1]);
        assert_eq!(answers(&endless), None);
    }

    #[test]
    fn whatever_comes_is_survived() {
        let mut state = 7u32;
        let mut byte = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        for round in 0..20_000usize {
            // Half of them begin as a message does, so that the reading gets far.
            let mut message = if round % 2 == 0 { super::query(1, "a.example.org", A) } else { Vec::new() };
            (0..round % 97).for_each(|_| message.push(byte()));
            if message.len() > 12 {
                message[7] = byte() % 4;
                let at = usize::from(byte()) % message.len();
                message[at] = byte();
            }
            let _ = (parse(&message), answers(&message));
        }
    }

    #[test]
    fn long_answers_are_cut_and_marked() {
        let question = parse(&query("web", A)).expect("a question");
        let answers: Vec<_> = (0..100).map(|n| ("web".to_owned(), Data::A(Ipv4Addr::new(10, 0, 0, n)))).collect();
        let message = write(&question, Code::Ok, &answers, &[], None, 5, 512);
        assert!(message.len() <= 512 && message[2] & 2 != 0);
        assert!(write(&question, Code::Ok, &answers, &[], None, 5, 65535).len() > 512);
    }
}
