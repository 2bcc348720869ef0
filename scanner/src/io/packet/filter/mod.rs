//! The socket's filter: which packets the kernel passes to us.
//!
//! Classic BPF, run on each IPv4 packet that the interface receives, before it is copied. It keeps packets that could
//! be answers and rejects the host's own traffic; only the cookie is left to the worker. Rejected packets are not
//! counted.

use libc::{
    BPF_ABS, BPF_ALU, BPF_AND, BPF_B, BPF_H, BPF_IND, BPF_JA, BPF_JEQ, BPF_JGE, BPF_JGT, BPF_JMP, BPF_JSET,
    BPF_K, BPF_LD, BPF_LDX, BPF_MSH, BPF_RET, BPF_W, sock_filter,
};
use wire::packet::{
    ETHERNET_LEN, LinkHeader, PROTOCOL_ICMP, PROTOCOL_TCP, PROTOCOL_UDP, TCP_ACK, TCP_RST, TCP_SYN,
};
use wire::proof::{Check, ProbeForm};

/// Instructions under construction. A jump reaches 255 instructions, which is enough for the tests. The end may be
/// farther away; separate jump instructions lead there, and their distances are filled in when they are known.
struct Instructions(Vec<sock_filter>);

/// Marks of jumps to the end.
const TO_ACCEPT: u32 = u32::MAX;
const TO_REJECT: u32 = u32::MAX - 1;

impl Instructions {
    fn push(&mut self, code: u32, k: u32, jt: u8, jf: u8) {
        self.0.push(sock_filter { code: code as u16, jt, jf, k });
    }

    fn load(&mut self, size: u32, mode: u32, at: usize) {
        self.push(BPF_LD | size | mode, at as u32, 0, 0);
    }

    /// Tests the accumulator and skips this many instructions.
    fn test(&mut self, how: u32, k: u32, if_so: u8, if_not: u8) {
        self.push(BPF_JMP | how | BPF_K, k, if_so, if_not);
    }

    fn jump(&mut self, mark: u32) {
        self.push(BPF_JMP | BPF_JA, mark, 0, 0);
    }

    /// Continues only if the test has the wanted result.
    fn require(&mut self, how: u32, k: u32, wanted: bool) {
        self.test(how, k, wanted.into(), (!wanted).into());
        self.jump(TO_REJECT);
    }

    /// Accepts the packet if the test holds.
    fn accept_if(&mut self, how: u32, k: u32) {
        self.test(how, k, 0, 1);
        self.jump(TO_ACCEPT);
    }

    /// Completes the program. It keeps `keep` bytes of what it accepts.
    fn finish(mut self, keep: u32) -> Vec<sock_filter> {
        let accept = self.0.len();
        for (i, instruction) in self.0.iter_mut().enumerate() {
            let target = match instruction.k {
                TO_ACCEPT => accept,
                TO_REJECT => accept + 1,
                _ => continue,
            };
            if u32::from(instruction.code) == BPF_JMP | BPF_JA {
                instruction.k = (target - i - 1) as u32;
            }
        }
        self.push(BPF_RET | BPF_K, keep, 0, 0);
        self.push(BPF_RET | BPF_K, 0, 0, 0);
        self.0
    }
}

/// The filter of a scan with this check. It cuts packets to `keep` bytes. Offsets are those that the socket sees: from
/// the Ethernet header on, if there is one.
pub(super) fn program(check: &Check, keep: usize) -> Vec<sock_filter> {
    let ip = match check.link {
        LinkHeader::Ethernet => ETHERNET_LEN,
        LinkHeader::Bare => 0,
    };
    let answers_in = match check.form {
        ProbeForm::TcpSyn | ProbeForm::TcpSynAck => Some(PROTOCOL_TCP),
        ProbeForm::Udp | ProbeForm::IpIp => Some(PROTOCOL_UDP),
        ProbeForm::IcmpEcho => None,
    };
    let mut program = Instructions(Vec::new());
    let sources = check.sources.addresses.iter().chain(&check.other_sources);
    to_a_source(&mut program, ip, sources.copied().collect());
    program.load(BPF_B, BPF_ABS, ip + 9);
    program.accept_if(BPF_JEQ, PROTOCOL_ICMP.into());
    let Some(protocol) = answers_in else {
        program.jump(TO_REJECT);
        return program.finish(keep as u32);
    };
    program.require(BPF_JEQ, protocol.into(), true);
    // In a fragment, ports and flags may be elsewhere. The worker distinguishes the first fragment from later ones,
    // which it counts.
    program.load(BPF_H, BPF_ABS, ip + 6);
    program.accept_if(BPF_JSET, 0x3fff);
    program.push(BPF_LDX | BPF_B | BPF_MSH, ip as u32, 0, 0); // length of the IP header
    let ports = check.sources.ports;
    program.load(BPF_H, BPF_IND, ip + 2);
    program.require(BPF_JGE, ports.first.into(), true);
    program.require(BPF_JGT, u32::from(ports.first) + ports.count - 1, false);
    if protocol == PROTOCOL_TCP {
        program.load(BPF_B, BPF_IND, ip + 13);
        program.accept_if(BPF_JSET, TCP_RST.into());
        let syn_ack = u32::from(TCP_SYN | TCP_ACK);
        program.push(BPF_ALU | BPF_AND | BPF_K, syn_ack, 0, 0);
        program.require(BPF_JEQ, syn_ack, true);
    }
    program.jump(TO_ACCEPT);
    program.finish(keep as u32)
}

/// Continues only for packets to one of these addresses.
fn to_a_source(program: &mut Instructions, ip: usize, mut addresses: Vec<u32>) {
    addresses.sort_unstable();
    program.load(BPF_W, BPF_ABS, ip + 16);
    let ranges: Vec<&[u32]> = addresses.chunk_by(|a, b| b - a <= 1).collect();
    // Each range takes three instructions, and the way out of the last one is a jump to the end.
    for (i, range) in ranges.iter().enumerate() {
        let left = ranges.len() - i - 1;
        program.test(BPF_JGE, range[0], 0, 2);
        program.test(BPF_JGT, range[range.len() - 1], 1, 0);
        program.push(BPF_JMP | BPF_JA, (3 * left + 1) as u32, 0, 0);
    }
    program.jump(TO_REJECT);
}

#[cfg(test)]
mod tests;
