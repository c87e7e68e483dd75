//! The system calls that have no safe wrapper, each behind a safe function. Nothing else in the workspace is `unsafe`.
#![expect(unsafe_code, reason = "system calls that no crate wraps safely; each block says why it is sound")]

use nix::errno::Errno;
use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

fn check(result: libc::c_long) -> io::Result<libc::c_long> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}

/// Which side of a fork the caller is on.
pub enum Fork {
    /// The parent; the child's process id, as seen from the parent.
    Parent(i32),
    /// The child.
    Child,
}

/// Forks the calling process.
///
/// Only for a process with one thread (the helpers): the child may then do everything that its parent may.
pub fn fork() -> io::Result<Fork> {
    clone_process(0)
}

/// Forks so that the child becomes a child of the caller's parent (`CLONE_PARENT`), as a sibling of the caller.
///
/// Only for a process with one thread, and not for the first process of a PID namespace.
pub fn fork_sibling() -> io::Result<Fork> {
    clone_process(libc::CLONE_PARENT)
}

fn clone_process(flags: libc::c_int) -> io::Result<Fork> {
    // SAFETY: a null stack makes clone behave as fork: the child runs on a copy of the caller's stack. No memory is shared.
    let pid = check(unsafe { libc::syscall(libc::SYS_clone, libc::c_long::from(flags | libc::SIGCHLD), 0, 0, 0, 0) })?;
    Ok(if pid == 0 { Fork::Child } else { Fork::Parent(pid as i32) })
}

/// Opens a descriptor for a process; it becomes readable when the process ends. Close-on-exec.
pub fn pidfd_open(pid: i32) -> io::Result<OwnedFd> {
    // SAFETY: no pointers are passed.
    let fd = check(unsafe { libc::syscall(libc::SYS_pidfd_open, pid, 0) })?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Sends a signal to the process behind a descriptor, without the race of a reused process id.
pub fn pidfd_send_signal(pidfd: BorrowedFd<'_>, signal: i32) -> io::Result<()> {
    // SAFETY: a null siginfo is allowed and means kill(2) semantics.
    check(unsafe {
        libc::syscall(libc::SYS_pidfd_send_signal, pidfd.as_raw_fd(), signal, std::ptr::null::<libc::c_void>(), 0)
    })
    .map(drop)
}

/// The result of [`pidfd_wait`]: the exit code, or the signal that ended the process.
#[derive(Debug, Clone, Copy)]
pub struct Waited {
    /// The exit code; meaningless when `signal` is set.
    pub code: i32,
    /// The signal that ended the process.
    pub signal: Option<i32>,
}

/// Takes the exit status of a child that has ended (never blocks). `None` when it still runs.
pub fn pidfd_wait(pidfd: BorrowedFd<'_>) -> io::Result<Option<Waited>> {
    // SAFETY: siginfo_t is plain data; all zeroes is a valid value.
    let mut info: libc::siginfo_t = unsafe { std::mem::zeroed() };
    // SAFETY: info lives across the call and has the right type.
    let result = unsafe {
        libc::waitid(
            libc::P_PIDFD,
            pidfd.as_raw_fd() as libc::id_t,
            &mut info,
            libc::WEXITED | libc::WNOHANG | libc::__WALL,
        )
    };
    check(libc::c_long::from(result))?;
    // SAFETY: waitid filled the SIGCHLD variant of the union (or left zeroes).
    let (pid, status) = unsafe { (info.si_pid(), info.si_status()) };
    if pid == 0 {
        return Ok(None);
    }
    Ok(Some(match info.si_code {
        libc::CLD_EXITED => Waited { code: status, signal: None },
        _ => Waited { code: 128 + status, signal: Some(status) },
    }))
}

/// Asks for `signal` when the thread that made this process ends.
pub fn set_parent_death_signal(signal: i32) -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, signal as libc::c_ulong, 0, 0, 0) }))
        .map(drop)
}

/// Sets `no_new_privs` for this process and its descendants.
pub fn set_no_new_privs() -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) })).map(drop)
}

/// Removes a capability (by number) from the bounding set.
pub fn drop_bounding(capability: u32) -> io::Result<()> {
    // SAFETY: prctl with integer arguments only.
    check(libc::c_long::from(unsafe { libc::prctl(libc::PR_CAPBSET_DROP, libc::c_ulong::from(capability), 0, 0, 0) }))
        .map(drop)
}

/// Sets effective, permitted and inheritable capabilities of this process (bit N is capability N).
pub fn capset(effective: u64, permitted: u64, inheritable: u64) -> io::Result<()> {
    #[repr(C)]
    struct Header {
        version: u32,
        pid: i32,
    }
    let header = Header { version: 0x2008_0522, pid: 0 };
    let data: [u32; 6] = [
        effective as u32,
        permitted as u32,
        inheritable as u32,
        (effective >> 32) as u32,
        (permitted >> 32) as u32,
        (inheritable >> 32) as u32,
    ];
    // SAFETY: version 3 of the call takes a header and two data structs of three u32 each, which is this layout.
    check(unsafe { libc::syscall(libc::SYS_capset, &header, data.as_ptr()) }).map(drop)
}

/// Installs a seccomp filter for this process and its descendants.
pub fn set_seccomp_filter(program: &[libc::sock_filter]) -> io::Result<()> {
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_ptr().cast_mut() };
    // SAFETY: the program lives across the call; the kernel copies and verifies it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0, &filter) }).map(drop)
}

/// Sets the read-only attribute of a mount, and of all below it when `recursive` (`mount_setattr(2)`).
pub fn mount_set_readonly(path: &CStr, recursive: bool) -> io::Result<()> {
    #[repr(C)]
    struct Attributes {
        set: u64,
        clear: u64,
        propagation: u64,
        userns_fd: u64,
    }
    const MOUNT_ATTR_RDONLY: u64 = 1;
    let attributes = Attributes { set: MOUNT_ATTR_RDONLY, clear: 0, propagation: 0, userns_fd: 0 };
    let flags = if recursive { 0x8000 } else { 0 };
    // SAFETY: path is a C string and attributes has the kernel's layout and size.
    check(unsafe {
        libc::syscall(
            libc::SYS_mount_setattr,
            libc::AT_FDCWD,
            path.as_ptr(),
            flags,
            &attributes,
            size_of::<Attributes>(),
        )
    })
    .map(drop)
}

/// Copies a mount and all below it (`open_tree(2)`). The copy is nowhere yet; what is shared about the original stays shared.
pub fn clone_mount(path: &CStr) -> io::Result<OwnedFd> {
    const OPEN_TREE_CLONE: libc::c_int = 1;
    const AT_RECURSIVE: libc::c_int = 0x8000;
    let flags = OPEN_TREE_CLONE | AT_RECURSIVE | libc::O_CLOEXEC;
    // SAFETY: path is a C string that outlives the call.
    let fd = check(unsafe { libc::syscall(libc::SYS_open_tree, libc::AT_FDCWD, path.as_ptr(), flags) })?;
    // SAFETY: the kernel has just given us this descriptor; nobody else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

/// Puts a mount that is nowhere yet on the place that `at` is open on (`move_mount(2)`).
pub fn attach_mount(mount: BorrowedFd<'_>, at: BorrowedFd<'_>) -> io::Result<()> {
    // Both paths are empty: the descriptors themselves are meant.
    const FROM_AND_TO_EMPTY: libc::c_int = 0x04 | 0x40;
    // SAFETY: both paths are empty C strings, both descriptors are open.
    check(unsafe {
        libc::syscall(
            libc::SYS_move_mount,
            mount.as_raw_fd(),
            c"".as_ptr(),
            at.as_raw_fd(),
            c"".as_ptr(),
            FROM_AND_TO_EMPTY,
        )
    })
    .map(drop)
}

/// Marks every descriptor from `first` on as close-on-exec.
pub fn close_on_exec_from(first: u32) -> io::Result<()> {
    const CLOSE_RANGE_CLOEXEC: u32 = 4;
    // SAFETY: only flags of descriptors change; nothing is closed while in use.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, CLOSE_RANGE_CLOEXEC) }).map(drop)
}

/// Closes every descriptor from `first` on. Only for a helper that owns none of them any more.
pub fn close_from(first: u32) -> io::Result<()> {
    // SAFETY: the caller (a single-threaded helper) has given up all owners of these descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, u32::MAX, 0) }).map(drop)
}

/// Resets all signal handlers to the default and unblocks all signals, as a new program expects.
pub fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is valid for every signal; the kernel refuses those that may not change.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    let _ = nix::sys::signal::SigSet::empty().thread_set_mask();
}

/// Makes the terminal behind `fd` the controlling terminal of this session.
pub fn set_controlling_terminal(fd: BorrowedFd<'_>) -> io::Result<()> {
    // SAFETY: TIOCSCTTY takes an integer.
    check(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSCTTY, 0) })).map(drop)
}

/// Sets the size of the terminal behind `fd`.
pub fn set_window_size(fd: BorrowedFd<'_>, rows: u16, columns: u16) -> io::Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: size lives across the call.
    check(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), libc::TIOCSWINSZ, &size) })).map(drop)
}

/// The number N of the slave `/dev/pts/N` of a pseudo-terminal's master, unlocked.
pub fn unlock_pty(master: BorrowedFd<'_>) -> io::Result<u32> {
    let unlock: libc::c_int = 0;
    let mut number: libc::c_uint = 0;
    // SAFETY: both arguments live across the calls and have the types that the ioctls ask for.
    unsafe {
        check(libc::c_long::from(libc::ioctl(master.as_raw_fd(), libc::TIOCSPTLCK, &unlock)))?;
        check(libc::c_long::from(libc::ioctl(master.as_raw_fd(), libc::TIOCGPTN, &mut number)))?;
    }
    Ok(number)
}

/// The user namespace that owns the namespace behind `fd` (`NS_GET_USERNS`).
pub fn owning_userns(fd: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    const NS_GET_USERNS: libc::c_ulong = 0xb701;
    // SAFETY: the ioctl takes no argument and returns a new descriptor.
    let raw = check(libc::c_long::from(unsafe { libc::ioctl(fd.as_raw_fd(), NS_GET_USERNS as _) }))?;
    // SAFETY: the kernel has just made this descriptor for us.
    Ok(unsafe { OwnedFd::from_raw_fd(raw as RawFd) })
}

/// Takes over an inherited descriptor by its number.
///
/// Fails with `EBADF` when it is not open. The caller must be its only user, as with `LISTEN_FDS` of a service manager:
/// call it once for each number, before other descriptors are opened.
pub fn take_inherited(fd: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_SETFD only changes a flag, and fails for a number that is not open.
    check(libc::c_long::from(unsafe { libc::fcntl(fd, libc::F_SETFD, libc::FD_CLOEXEC) }))?;
    // SAFETY: the descriptor is open, and by this function's contract nobody else owns it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Makes `fd` available as the descriptor number `number` in this process, replacing what was there; not close-on-exec.
pub fn dup_onto(fd: BorrowedFd<'_>, number: RawFd) -> io::Result<()> {
    // SAFETY: in the single-threaded helper no Rust object owns the target numbers (0 to 2, or after all are moved away).
    unsafe {
        if fd.as_raw_fd() == number {
            return check(libc::c_long::from(libc::fcntl(number, libc::F_SETFD, 0))).map(drop);
        }
        check(libc::c_long::from(libc::dup2(fd.as_raw_fd(), number))).map(drop)
    }
}

/// A copy of `fd` with a number of at least `minimum`, close-on-exec.
pub fn dup_above(fd: BorrowedFd<'_>, minimum: RawFd) -> io::Result<OwnedFd> {
    // SAFETY: F_DUPFD_CLOEXEC makes a new descriptor, owned by us alone.
    unsafe {
        let raw = check(libc::c_long::from(libc::fcntl(fd.as_raw_fd(), libc::F_DUPFD_CLOEXEC, minimum)))?;
        Ok(OwnedFd::from_raw_fd(raw as RawFd))
    }
}

/// Replaces this process by a program (`execve(2)`); returns only on failure.
pub fn exec(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    match nix::unistd::execve(program, arguments, environment) {
        Ok(never) => match never {},
        Err(errno) => errno.into(),
    }
}

/// A raw socket (non-blocking, close-on-exec) for the IPv4 frames of one link of this network namespace.
pub fn packet_socket(link: u32) -> io::Result<OwnedFd> {
    let protocol = (libc::ETH_P_IP as u16).to_be();
    // SAFETY: the descriptor is made here and owned at once; the address is a valid sockaddr_ll that lives across the call.
    unsafe {
        let raw = check(libc::c_long::from(libc::socket(
            libc::AF_PACKET,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            i32::from(protocol),
        )))?;
        let fd = OwnedFd::from_raw_fd(raw as RawFd);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_protocol = protocol;
        address.sll_ifindex = link as i32;
        check(libc::c_long::from(libc::bind(
            fd.as_raw_fd(),
            (&raw const address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        )))?;
        Ok(fd)
    }
}

/// Watches a non-blocking descriptor in the current async runtime.
pub fn watch_fd(fd: OwnedFd) -> io::Result<tokio::io::unix::AsyncFd<OwnedFd>> {
    // SAFETY: an OwnedFd keeps its descriptor open and the same for as long as it lives, and AsyncFd owns it.
    unsafe { tokio::io::unix::AsyncFd::register(fd) }.map_err(io::Error::from)
}

/// A TCP listener (non-blocking) on an address that need not be this host's own (`IP_TRANSPARENT`).
pub fn transparent_listener(address: std::net::SocketAddrV4) -> io::Result<std::net::TcpListener> {
    let on: libc::c_int = 1;
    let size = size_of::<libc::c_int>() as u32;
    // SAFETY: the descriptor is made here and owned at once; all structures live across the calls and have the right sizes.
    unsafe {
        let raw = check(libc::c_long::from(libc::socket(
            libc::AF_INET,
            libc::SOCK_STREAM | libc::SOCK_CLOEXEC | libc::SOCK_NONBLOCK,
            0,
        )))?;
        let fd = OwnedFd::from_raw_fd(raw as RawFd);
        for (level, option) in [(libc::SOL_SOCKET, libc::SO_REUSEADDR), (libc::SOL_IP, libc::IP_TRANSPARENT)] {
            check(libc::c_long::from(libc::setsockopt(fd.as_raw_fd(), level, option, (&raw const on).cast(), size)))?;
        }
        let mut to: libc::sockaddr_in = std::mem::zeroed();
        to.sin_family = libc::AF_INET as u16;
        to.sin_port = address.port().to_be();
        to.sin_addr.s_addr = u32::from_ne_bytes(address.ip().octets());
        check(libc::c_long::from(libc::bind(
            fd.as_raw_fd(),
            (&raw const to).cast(),
            size_of::<libc::sockaddr_in>() as u32,
        )))?;
        check(libc::c_long::from(libc::listen(fd.as_raw_fd(), 256)))?;
        Ok(std::net::TcpListener::from(fd))
    }
}

/// The effective capabilities of this process, bit N for capability N.
pub fn effective_capabilities() -> u64 {
    let status = std::fs::read_to_string("/proc/thread-self/status").unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("CapEff:"))
        .and_then(|value| u64::from_str_radix(value.trim(), 16).ok())
        .unwrap_or(0)
}

/// A name as a C string; a NUL inside is `EINVAL`.
pub fn c_string(text: impl Into<Vec<u8>>) -> io::Result<CString> {
    CString::new(text).map_err(|_| Errno::EINVAL.into())
}

/// Ends this process at once, without running destructors or flushing anything (for forked helpers).
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit never returns and touches no memory of ours.
    unsafe { libc::_exit(code) }
}

/// The clock ticks per second in which `/proc/PID/stat` counts CPU time.
pub fn clock_ticks() -> u64 {
    // SAFETY: sysconf has no preconditions.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100).max(1)
}
