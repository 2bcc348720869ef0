//! The accounts, with their rows and the counters that these are made from; and the equations between them.
//!
//! `docs/reference/ledger.md` has the same rows, and a test compares the two.

use std::borrow::Cow;

use super::facts::{EndFacts, Facts, ring_full};
use super::{Account, Equation, Row, RowKind, UNDER_WAY};
use crate::engine::RepeatPolicy;
use crate::io::bpf::abi::Counter;

impl Account {
    fn new(name: impl Into<Cow<'static, str>>, text: impl Into<Cow<'static, str>>, total: u64) -> Self {
        Self { name: name.into(), text: text.into(), total, parts: vec![], notes: vec![], is_exact: true }
    }

    fn part(mut self, kind: RowKind, name: &'static str, text: &'static str, count: u64) -> Self {
        self.parts.push(Row { name, text: text.into(), count, kind });
        self
    }

    fn usual(self, name: &'static str, text: &'static str, count: u64) -> Self {
        self.part(RowKind::Usual, name, text, count)
    }

    fn rare(self, name: &'static str, text: &'static str, count: u64) -> Self {
        self.part(RowKind::Rare, name, text, count)
    }

    fn loss(self, name: &'static str, text: &'static str, count: u64) -> Self {
        self.part(RowKind::Loss, name, text, count)
    }

    fn note(mut self, name: &'static str, text: &'static str, count: u64) -> Self {
        self.notes.push(Row { name, text: text.into(), count, kind: RowKind::Rare });
        self
    }

    fn exact_if(self, is_exact: bool) -> Self {
        Self { is_exact, ..self }
    }

    /// What is in no part.
    fn rest(&self) -> u64 {
        self.total.saturating_sub(self.sum())
    }

    /// The sum of the parts.
    fn sum(&self) -> u64 {
        self.parts.iter().fold(0, |sum, row| sum.saturating_add(row.count))
    }

    /// While the scan runs, what is in no part is under way.
    fn under_way(self, facts: &Facts<'_>) -> Self {
        let rest = self.rest();
        match facts.end {
            Some(_) => self,
            None => self.usual(UNDER_WAY, "under way", rest).exact_if(false),
        }
    }
}

/// All accounts, in the order in which a scan goes through them.
pub(super) fn of(facts: &Facts<'_>) -> Vec<Account> {
    let mut accounts = vec![
        targets(facts),
        second_probes(facts),
        probes(facts),
        canaries(facts),
        resets(facts),
        reset_frames(facts),
        judged(facts),
    ];
    if let Some(end) = &facts.end {
        accounts.push(sockets(end));
        accounts.extend(end.packet_sockets.map(packet_sockets));
    }
    accounts.extend([frames(facts), canary_answers(facts), replies(facts), results(facts)]);
    accounts.extend(facts.end.iter().flat_map(|end| outputs(facts, end)));
    accounts
}

fn targets(facts: &Facts<'_>) -> Account {
    let counts = facts.counts;
    Account::new("targets", "targets that the order gave", counts.targets_generated)
        .usual("probed", "probed", counts.targets)
        .rare("unreachable", "not probed: no route, or no host has the address", counts.targets_unreachable)
        .rare("excluded_late", "not probed: excluded while the scan ran", counts.targets_excluded_late)
        .note("again", "probed once more: outage, or rate too high", counts.targets_again)
        .under_way(facts)
}

fn second_probes(facts: &Facts<'_>) -> Account {
    let counts = facts.counts;
    Account::new("second_probes", "targets whose second probes were due", counts.second_generated)
        .rare("probed", "probed a second time", counts.second_probed)
        .rare("unreachable", "not probed: no route, or no host has the address", counts.second_unreachable)
        .rare("excluded_late", "not probed: excluded while the scan ran", counts.second_excluded_late)
        .note("again", "probed once more: outage, or rate too high", counts.second_again)
        .under_way(facts)
}

fn probes(facts: &Facts<'_>) -> Account {
    let (counts, port) = (facts.counts, &facts.counts.port);
    let end = facts.end.as_ref();
    // Probes that were not completed are among the lost ones, except those of a worker that panicked.
    let reported = end.map_or(0, |end| end.unconfirmed);
    let lost = port.probes_lost.saturating_sub(reported);
    let of_lost_worker = counts.tx_submitted.saturating_sub(port.probes_sent + lost);
    let unconfirmed = if end.is_some_and(|end| end.has_lost_worker) { of_lost_worker } else { reported };
    Account::new("probes", "probes handed to the transmit rings", counts.tx_submitted)
        .usual("completed", "completed", port.probes_sent)
        .loss("lost", "lost: refused for good, or before the driver", lost)
        .loss("unconfirmed", "never completed", unconfirmed)
        .note("refused", "refused by driver or kernel, and sent again", port.probes_refused)
        .under_way(facts)
}

/// Who answers a canary, and how often, is not in our hands: answers that nobody asked for are no replies of it.
fn canaries(facts: &Facts<'_>) -> Account {
    let counts = facts.counts;
    let replied = counts.canaries_replied().min(counts.canaries);
    let account = Account::new("canaries", "canaries: probes to hosts that had answered", counts.canaries)
        .rare("replied", "replied to", replied)
        .note("excluded_late", "not sent: excluded while the scan ran", counts.canaries_excluded_late);
    let rest = account.rest();
    match facts.end {
        Some(_) => account.rare("unanswered", "without an answer", rest),
        None => account.under_way(facts),
    }
}

fn canary_answers(facts: &Facts<'_>) -> Account {
    let counts = facts.counts;
    Account::new("canary_answers", "answers to canaries", counts.rx_canary)
        .rare("answered", "as the first time", counts.rx_canary_answered)
        .rare("refused", "in another way, such as a RST", counts.rx_canary_refused)
        .rare("error", "ICMP errors", counts.rx_canary_error)
        .rare("repeats", "once more", counts.rx_canary_repeats)
        .exact_if(facts.end.is_some())
}

fn resets(facts: &Facts<'_>) -> Account {
    let counts = facts.counts;
    let due = if facts.has_resets { counts.rx_synack + counts.rx_canary_synack } else { 0 };
    Account::new("resets", "resets due, one for each SYN-ACK", due)
        .usual("queued", "handed to the transmit rings", counts.rst_submitted)
        .rare("by_kernel", "left to the host's kernel", counts.rst_by_kernel)
        .rare("capped", "not sent: too many to one host, or in all", counts.rst_capped)
        .rare("excluded_late", "not sent: excluded while the scan ran", counts.rst_excluded_late)
        .loss("no_room", "not sent: no room in the transmit ring", counts.rst_no_room)
        .under_way(facts)
}

fn reset_frames(facts: &Facts<'_>) -> Account {
    let (counts, port) = (facts.counts, &facts.counts.port);
    let account = Account::new("reset_frames", "resets handed to the transmit rings", counts.rst_submitted)
        .usual("completed", "completed", port.resets_sent)
        .loss("lost", "lost: refused for good", port.resets_lost)
        .note("refused", "refused by the kernel, and sent again", port.resets_refused);
    let Some(end) = &facts.end else { return account.under_way(facts) };
    let in_ports = end.outstanding.saturating_sub(end.unconfirmed);
    let unconfirmed = if end.has_lost_worker { account.rest() } else { in_ports };
    account.loss("unconfirmed", "never completed", unconfirmed)
}

/// The name of a verdict for people.
fn verdict_text(counter: Counter) -> (&'static str, RowKind) {
    use Counter as C;
    use RowKind::{Loss, Rare, Usual};
    match counter {
        C::ValidRedirected => ("replies, redirected to the sockets", Usual),
        C::ValidNoSocket => ("replies on a queue that is not read", Loss),
        C::PassOwnSocket => ("replies, left to a socket of the host", Rare),
        C::PassNotIpv4 => ("passed: not IPv4", Rare),
        C::PassOtherProtocol => ("passed: another protocol", Rare),
        C::PassFragment => ("passed: a fragment", Rare),
        C::PassTruncated => ("passed: truncated, or with wrong lengths", Rare),
        C::PassOtherAddress => ("passed: to another address", Rare),
        C::PassOtherPort => ("passed: to another port", Rare),
        C::PassOtherFlags => ("passed: neither SYN-ACK nor RST", Rare),
        C::PassBadCookie => ("passed: wrong cookie", Rare),
        C::DropOtherFlags => ("dropped: neither SYN-ACK nor RST", Rare),
        C::DropBadCookie => ("dropped: wrong cookie", Rare),
        C::PassOtherIcmp => ("passed: other ICMP", Rare),
        C::PassBadQuote => ("passed: an ICMP error that quotes no probe", Rare),
        C::PassOtherVlan => ("passed: of another VLAN", Rare),
    }
}

/// Frames that the XDP programs, or the workers in their place, have judged: each has one verdict.
fn judged(facts: &Facts<'_>) -> Account {
    let count =
        |name: &str| facts.verdicts.iter().find(|(known, _)| *known == name).map_or(0, |(_, count)| *count);
    let total = facts.verdicts.iter().map(|(_, count)| count).sum();
    // First what a scan is about.
    let first = [Counter::ValidRedirected, Counter::ValidNoSocket, Counter::PassOwnSocket];
    let others = Counter::ALL.iter().filter(|counter| !first.contains(counter));
    let account = Account::new("judged", "frames that were judged", total);
    first.iter().chain(others).fold(account, |account, counter| {
        let (text, kind) = verdict_text(*counter);
        account.part(kind, counter.name(), text, count(counter.name()))
    })
}

fn sockets(end: &EndFacts) -> Account {
    let facts = &end.sockets;
    let account = Account::new("sockets", "frames redirected to AF_XDP sockets", facts.redirected)
        .usual("received", "received", facts.received)
        .loss("ring_full", "dropped: the RX ring was full", facts.ring_full)
        .loss("dropped", "dropped: no free frame, or too long", facts.dropped)
        .loss("vanished", "never reached a socket", facts.vanished())
        .loss("untaken", "left in the RX rings at the end", facts.untaken);
    let rest = account.rest();
    account
        .rare("after_end", "came when the scan had ended", rest)
        .note("fill_ring_empty", "times that a fill ring was empty", facts.fill_ring_empty)
        .exact_if(facts.is_known && !end.has_lost_worker)
}

fn packet_sockets([judged, dropped]: [u64; 2]) -> Account {
    Account::new("packet_sockets", "frames for AF_PACKET sockets", judged + dropped)
        .usual("judged", "received and judged", judged)
        .loss("ring_full", "dropped: the ring was full", dropped)
}

fn frames(facts: &Facts<'_>) -> Account {
    let counts = facts.counts;
    Account::new("frames", "frames that the workers received", counts.port.rx_frames)
        .usual("syn_ack", "SYN-ACKs", counts.rx_synack)
        .usual("rst", "RSTs", counts.rx_rst)
        .rare("icmp_error", "ICMP errors that quote a probe", counts.rx_icmp_error)
        .rare("echo", "ICMP echo replies", counts.rx_echo)
        .rare("udp", "UDP datagrams", counts.rx_udp)
        .rare("canary", "answers to canaries", counts.rx_canary)
        .rare("unasked", "not about a target of the scan", counts.rx_unasked)
        .loss("invalid", "refused by the probe's own check", counts.rx_invalid)
        .exact_if(facts.end.is_some())
}

fn replies(facts: &Facts<'_>) -> Account {
    let (counts, taken) = (facts.counts, facts.results.total_valid);
    let of_repeats = if facts.repeats == RepeatPolicy::Lose { RowKind::Loss } else { RowKind::Rare };
    let account = Account::new("replies", "replies", counts.replies())
        .usual("taken", "taken by the collector", taken)
        .loss("ring_full", "lost: the collector's ring was full", ring_full(counts, facts.repeats))
        .part(of_repeats, "repeats", "repeats dropped early, as the ring filled up", counts.rx_repeats);
    let Some(end) = &facts.end else { return account.under_way(facts) };
    let not_taken = if end.outputs.is_none() { account.rest() } else { 0 };
    account.loss("not_taken", "lost with the collector", not_taken).exact_if(!end.has_lost_worker)
}

fn results(facts: &Facts<'_>) -> Account {
    let counts = facts.results;
    Account::new("results", "replies that the collector took", counts.total_valid)
        .usual("passed", "results, passed to the outputs", counts.passed)
        .usual("repeats", "left out: the target had a success before", counts.filtered_repeats)
        .usual("filtered", "left out by the filter", counts.filtered)
        .rare("past_ports", "left out: the host had as many open ports as wanted", counts.past_ports)
        .rare("past_limit", "left out: as many results as requested", counts.past_limit)
        .exact_if(facts.end.as_ref().is_some_and(|end| end.outputs.is_some()))
}

/// An account for each output, the first of which is `output-1`.
fn outputs<'a>(facts: &'a Facts<'_>, end: &'a EndFacts) -> impl Iterator<Item = Account> {
    let outputs = end.outputs.iter().flatten();
    outputs.enumerate().map(move |(number, output)| {
        let text = format!("results for {}", output.place);
        Account::new(format!("output-{}", number + 1), text, facts.results.passed)
            .usual("written", "written", output.counts.written)
            .loss("lost", "lost: it did not accept them", output.counts.lost)
    })
}

/// The equations between accounts, as far as they have to hold at this end.
pub(super) fn equations(facts: &Facts<'_>, end: &EndFacts) -> Vec<Equation> {
    let (counts, results) = (facts.counts, facts.results);
    let mut equations = vec![Equation {
        name: "probes_of_targets",
        left: counts.tx_submitted,
        right: u64::from(facts.copies) * (counts.targets + counts.targets_again)
            + counts.second_probed
            + counts.second_again
            + counts.canaries,
    }];
    if !end.has_lost_worker && !end.is_dry {
        equations.push(Equation {
            name: "frames_of_sockets",
            left: counts.port.rx_frames,
            right: end.sockets.received + end.packet_replies,
        });
    }
    if let Some([sent, replied]) = end.canary_slots.filter(|_| !end.has_lost_worker) {
        equations.push(Equation { name: "canaries_of_slots", left: counts.canaries, right: sent });
        equations.push(Equation {
            name: "canary_answers_of_slots",
            left: counts.canaries_replied(),
            right: replied,
        });
    }
    if let Some(outputs) = &end.outputs {
        equations.push(Equation {
            name: "successes_and_failures",
            left: results.total_valid,
            right: results.success_total + results.failure_total,
        });
        if let [output] = &outputs[..] {
            equations.push(Equation {
                name: "results_written",
                left: results.written,
                right: output.counts.written,
            });
        }
        equations.push(Equation {
            name: "results_lost",
            left: results.output_lost,
            right: outputs.iter().map(|output| output.counts.lost).sum(),
        });
    }
    equations
}
