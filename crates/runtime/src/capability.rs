//! Capability names and sets.

/// All capabilities, in the order of their numbers.
pub const ALL: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

/// What a container gets unless told otherwise: the set of Docker and containerd.
pub const DEFAULT: [&str; 14] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
];

/// The number of a capability, by its name with or without `CAP_`, in any case.
pub fn number(name: &str) -> Option<u32> {
    let upper = name.to_ascii_uppercase();
    let full = if upper.starts_with("CAP_") { upper } else { format!("CAP_{upper}") };
    ALL.iter().position(|known| *known == full).map(|index| index as u32)
}

/// The set with bit N for capability N; unknown names are left out.
pub fn mask<S: AsRef<str>>(names: &[S]) -> u64 {
    names.iter().filter_map(|name| number(name.as_ref())).fold(0, |mask, bit| mask | 1 << bit)
}

/// The default set with `add` and without `drop`, as a Pod's `securityContext.capabilities` means it (`ALL` allowed in both).
pub fn adjusted(add: &[String], drop: &[String]) -> Vec<String> {
    let all = |list: &[String]| {
        list.iter().any(|name| name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL"))
    };
    let mut set = if all(add) { u64::MAX >> (64 - ALL.len()) } else { mask(&DEFAULT) };
    if all(drop) {
        set = if all(add) { set } else { 0 };
    }
    set &= !mask(drop);
    set |= mask(add);
    ALL.iter().enumerate().filter(|(bit, _)| set & (1 << bit) != 0).map(|(_, name)| (*name).to_owned()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_the_kernels_numbers() {
        for (name, expected) in [
            ("CAP_CHOWN", Some(0)),
            ("net_raw", Some(13)),
            ("CAP_SYS_ADMIN", Some(21)),
            ("CAP_CHECKPOINT_RESTORE", Some(40)),
            ("CAP_NO", None),
        ] {
            assert_eq!(number(name), expected, "{name}");
        }
    }

    #[test]
    fn add_and_drop() {
        let strings = |list: &[&str]| list.iter().map(|s| (*s).to_owned()).collect::<Vec<_>>();
        assert_eq!(adjusted(&strings(&["NET_BIND_SERVICE"]), &strings(&["ALL"])), strings(&["CAP_NET_BIND_SERVICE"]));
        assert_eq!(adjusted(&[], &strings(&["ALL"])), Vec::<String>::new());
        assert_eq!(adjusted(&[], &[]).len(), DEFAULT.len());
        assert_eq!(adjusted(&strings(&["ALL"]), &strings(&["SYS_ADMIN"])).len(), ALL.len() - 1);
        assert!(!adjusted(&[], &strings(&["chown"])).contains(&"CAP_CHOWN".to_owned()));
    }
}
