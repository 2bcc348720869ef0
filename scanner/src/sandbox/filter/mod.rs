//! From the table to a filter of system calls, which a thread puts on itself for good (`seccomp(2)`).
//!
//! What always holds: what is not allowed fails with EPERM. Nothing is killed, also not by a call of another
//! architecture. Calls that are allowed whatever their arguments are answered by the kernel from a bitmap, without
//! running the filter (Linux 5.11 and later).

use std::collections::BTreeMap;
use std::io;

use rustix::thread::set_no_new_privs;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, sock_filter,
};

use super::table::{Call, Class, Exception, HOT, RUNTIME, Test};

/// What a refused call returns.
const REFUSED: u32 = libc::EPERM as u32;
/// Instructions at the start of a compiled filter that test the architecture: a load, a jump over the third, and the
/// third, which kills.
const ARCHITECTURE_LEN: usize = 3;

/// Puts the filter of `class` on the calling thread, for good.
///
/// # Errors
/// The kernel has no filters, or refuses this one, in words.
pub(super) fn apply(class: Class, exceptions: &[Exception]) -> Result<(), String> {
    let program = compile(class, exceptions).map_err(|error| error.to_string())?;
    put_on(&program).map_err(|error| error.to_string())
}

/// Puts a filter on the calling thread, for good.
///
/// Without its flag, a kernel before 5.16 would also turn speculation past stores off for the thread, which slows down
/// all of its memory accesses. That protects from code that the thread is made to run, and this filter does not let it
/// run any.
fn put_on(program: &BpfProgram) -> io::Result<()> {
    /// `struct sock_fprog` of `linux/filter.h`.
    #[repr(C)]
    struct Program {
        len: libc::c_ushort,
        filter: *const sock_filter,
    }
    set_no_new_privs(true)?;
    let program = Program { len: program.len() as libc::c_ushort, filter: program.as_ptr() };
    #[expect(unsafe_code, reason = "no crate wraps seccomp(2) with this flag")]
    // SAFETY: the kernel reads `program` and the `len` instructions at `filter`, which outlive the call, and keeps no
    // pointer to them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW,
            &raw const program,
        )
    };
    if result == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// The filter of `class` in a scan with these exceptions.
fn compile(class: Class, exceptions: &[Exception]) -> Result<BpfProgram, BackendError> {
    let rules = rules(class, exceptions)?;
    let hot: Vec<u32> = HOT
        .iter()
        .filter(|number| rules.get(*number).is_some_and(Vec::is_empty))
        .map(|number| *number as u32)
        .collect();
    let architecture = std::env::consts::ARCH.try_into()?;
    let filter =
        SeccompFilter::new(rules, SeccompAction::Errno(REFUSED), SeccompAction::Allow, architecture)?;
    let mut program: BpfProgram = filter.try_into()?;
    program[ARCHITECTURE_LEN - 1].k = libc::SECCOMP_RET_ERRNO | REFUSED;
    program.splice(ARCHITECTURE_LEN..ARCHITECTURE_LEN, first(&hot));
    Ok(program)
}

/// The calls that are allowed, by their numbers; without a rule if whatever the arguments are.
fn rules(class: Class, exceptions: &[Exception]) -> Result<BTreeMap<i64, Vec<SeccompRule>>, BackendError> {
    let added = exceptions.iter().filter(|exception| exception.class() == class);
    let lists = class.calls().iter().chain(added.flat_map(|exception| exception.calls()));
    let mut rules = BTreeMap::<i64, Vec<SeccompRule>>::new();
    let mut whole = Vec::new();
    for call in RUNTIME.iter().chain(lists.flat_map(|list| list.iter())) {
        if call.tests.is_empty() {
            whole.push(call.number);
        } else {
            rules.entry(call.number).or_default().push(rule(call)?);
        }
    }
    rules.extend(whole.into_iter().map(|number| (number, Vec::new())));
    Ok(rules)
}

fn rule(call: &Call) -> Result<SeccompRule, BackendError> {
    let condition = |test: &Test| {
        let (place, operator, value) = match *test {
            Test::Is(place, value) => (place, SeccompCmpOp::Eq, value),
            Test::Masked(place, mask, value) => (place, SeccompCmpOp::MaskedEq(mask), value),
            Test::IsThisProcess(place) => (place, SeccompCmpOp::Eq, u64::from(std::process::id())),
        };
        SeccompCondition::new(place, SeccompCmpArgLen::Dword, operator, value)
    };
    SeccompRule::new(call.tests.iter().map(condition).collect::<Result<_, _>>()?)
}

/// Instructions that allow these calls before any other is tested.
fn first(numbers: &[u32]) -> Vec<sock_filter> {
    const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const JUMP_IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let instruction = |code, jt, k| sock_filter { code, jt, jf: 0, k };
    // The number of the call is at the start of the data.
    let mut program = vec![instruction(LOAD, 0, 0)];
    // Over the tests that follow, and the jump behind them.
    let compare =
        |(place, number): (usize, &u32)| instruction(JUMP_IF_EQUAL, (numbers.len() - place) as u8, *number);
    program.extend(numbers.iter().enumerate().map(compare));
    program.extend([instruction(JUMP, 0, 1), instruction(RETURN, 0, libc::SECCOMP_RET_ALLOW)]);
    program
}

#[cfg(test)]
mod tests;
