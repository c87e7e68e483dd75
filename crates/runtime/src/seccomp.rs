//! The default seccomp profile: what container engines deny by default, as a list of denied calls.
//!
//! A denied call fails with `EPERM` (`ENOSYS` for `clone3`, so that programs fall back to `clone`, whose flags can be
//! inspected). A capability in the container's set allows the calls that it guards.
//!
//! Where only one user is mapped (an ordinary user without subordinate ids), a program that is root in its container could
//! neither change owners nor give up its user, and most images' entry points and package managers do. There these calls report
//! success and change nothing: everything belongs to the one user anyway.

use serde::{Deserialize, Serialize};

/// Which filter a container gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Seccomp {
    /// The default profile.
    #[default]
    Default,
    /// No filter.
    Unconfined,
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Denied whatever the capabilities are.
const DENIED: &[libc::c_long] = &[
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_kexec_load,
    libc::SYS_userfaultfd,
    libc::SYS_nfsservctl,
];

/// Capability numbers, and what is denied without them.
const GUARDED: &[(u32, &[libc::c_long])] = &[
    (16, &[libc::SYS_init_module, libc::SYS_finit_module, libc::SYS_delete_module]),
    (20, &[libc::SYS_acct]),
    (
        21,
        &[
            libc::SYS_mount,
            libc::SYS_umount2,
            libc::SYS_pivot_root,
            libc::SYS_swapon,
            libc::SYS_swapoff,
            libc::SYS_setns,
            libc::SYS_unshare,
            libc::SYS_bpf,
            libc::SYS_perf_event_open,
            libc::SYS_quotactl,
            libc::SYS_fanotify_init,
            libc::SYS_fsopen,
            libc::SYS_fsconfig,
            libc::SYS_fsmount,
            libc::SYS_fspick,
            libc::SYS_move_mount,
            libc::SYS_open_tree,
            libc::SYS_mount_setattr,
            libc::SYS_open_by_handle_at,
            libc::SYS_setdomainname,
            libc::SYS_sethostname,
            libc::SYS_io_uring_setup,
        ],
    ),
    (22, &[libc::SYS_reboot]),
    (23, &[libc::SYS_move_pages, libc::SYS_migrate_pages]),
    (25, &[libc::SYS_settimeofday, libc::SYS_clock_settime]),
];

/// Calls that change users and owners.
const IDENTITY: &[libc::c_long] = &[
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setgroups,
    libc::SYS_fchown,
    libc::SYS_fchownat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_chown,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_lchown,
];

/// The namespace flags of `clone(2)`, denied without `CAP_SYS_ADMIN`.
const NAMESPACES: u32 = 0x7e02_0000;

const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const EQUALS: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const HAS_BITS: u16 = (libc::BPF_JMP | libc::BPF_JSET | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
const ALLOW: u32 = 0x7fff_0000;
const FAIL: u32 = 0x0005_0000;
const KILL: u32 = 0x8000_0000;

/// A filter program for a container with these capabilities (bit N for capability N).
///
/// `restricted` is the default profile; `one_user` lets calls that change users and owners succeed without effect.
pub fn program(capabilities: u64, restricted: bool, one_user: bool) -> Vec<libc::sock_filter> {
    let op = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let answer = |value| op(RETURN, 0, 0, value);
    let admin = capabilities & (1 << 21) != 0;
    // seccomp_data: number at 0, architecture at 4, low half of the first argument at 16.
    let mut program = vec![op(LOAD, 0, 0, 4), op(EQUALS, 1, 0, ARCHITECTURE), answer(KILL), op(LOAD, 0, 0, 0)];
    #[cfg(target_arch = "x86_64")]
    {
        // Numbers with this bit are the x32 interface, another way to the same calls.
        program.push(op((libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16, 0, 1, 0x4000_0000));
        program.push(answer(FAIL | libc::ENOSYS as u32));
    }
    for call in IDENTITY.iter().filter(|_| one_user) {
        program.push(op(EQUALS, 0, 1, *call as u32));
        program.push(answer(FAIL));
    }
    if !restricted {
        program.push(answer(ALLOW));
        return program;
    }
    let guarded = GUARDED.iter().filter(|(bit, _)| capabilities & (1 << bit) == 0).flat_map(|(_, calls)| calls.iter());
    for call in DENIED.iter().chain(guarded) {
        program.push(op(EQUALS, 0, 1, *call as u32));
        program.push(answer(FAIL | libc::EPERM as u32));
    }
    if !admin {
        program.push(op(EQUALS, 0, 1, libc::SYS_clone3 as u32));
        program.push(answer(FAIL | libc::ENOSYS as u32));
        program.push(op(EQUALS, 0, 3, libc::SYS_clone as u32));
        program.push(op(LOAD, 0, 0, 16));
        program.push(op(HAS_BITS, 0, 1, NAMESPACES));
        program.push(answer(FAIL | libc::EPERM as u32));
    }
    program.push(answer(ALLOW));
    program
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs a filter as the kernel would.
    fn run(program: &[libc::sock_filter], number: u32, architecture: u32, argument: u32) -> u32 {
        let (mut at, mut accumulator) = (0usize, 0u32);
        loop {
            let op = program[at];
            at += 1;
            match op.code {
                LOAD => {
                    accumulator = [(0, number), (4, architecture), (16, argument)]
                        .into_iter()
                        .find(|(k, _)| *k == op.k)
                        .expect("a known offset")
                        .1
                }
                RETURN => return op.k,
                EQUALS => at += usize::from(if accumulator == op.k { op.jt } else { op.jf }),
                HAS_BITS => at += usize::from(if accumulator & op.k != 0 { op.jt } else { op.jf }),
                _ => at += usize::from(if accumulator >= op.k { op.jt } else { op.jf }),
            }
        }
    }

    #[test]
    fn verdicts() {
        let default = program(0, true, false);
        let admin = program(1 << 21, true, false);
        let one = program(0, false, true);
        let denied = FAIL | libc::EPERM as u32;
        for (filter, call, argument, expected) in [
            (&default, libc::SYS_read, 0, ALLOW),
            (&default, libc::SYS_mount, 0, denied),
            (&admin, libc::SYS_mount, 0, ALLOW),
            (&admin, libc::SYS_keyctl, 0, denied),
            (&default, libc::SYS_clone, libc::SIGCHLD as u32, ALLOW),
            (&default, libc::SYS_clone, libc::CLONE_NEWUSER as u32, denied),
            (&admin, libc::SYS_clone, libc::CLONE_NEWUSER as u32, ALLOW),
            (&default, libc::SYS_clone3, 0, FAIL | libc::ENOSYS as u32),
            (&default, libc::SYS_reboot, 0, denied),
            (&default, libc::SYS_setuid, 0, ALLOW),
            (&one, libc::SYS_setuid, 0, FAIL),
            (&one, libc::SYS_mount, 0, ALLOW),
        ] {
            assert_eq!(
                run(filter, call as u32, ARCHITECTURE, argument),
                expected,
                "call {call} argument {argument:#x}"
            );
        }
        assert_eq!(run(&default, 0, 1, 0), KILL);
    }
}
