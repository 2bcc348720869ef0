//! The program through two independent loaders: aya, which the scanner uses, and libbpf.

use std::os::fd::{AsRawFd, BorrowedFd};

use libbpf_rs::btf::types::DataSec;
use libbpf_rs::{MapCore, MapFlags, MapMut, Object, ObjectBuilder, ProgramInput};
use xdpmap::io::bpf::abi::{COUNTERS, Config, Counter, Counts};
use xdpmap::io::bpf::{ProgramSettings, XdpProgram, object};
use xdpmap::reply::record::mapped;
use zerocopy::IntoBytes;

/// The loaded program, by either loader.
pub(crate) trait Loaded {
    /// The action for this frame.
    fn run(&mut self, frame: &[u8]) -> u32;
    fn counters(&self) -> Counts;
    fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>);
}

/// Runs the program and returns its action and the one counter that it raised.
pub(crate) fn judge(program: &mut dyn Loaded, frame: &[u8]) -> (u32, Counter) {
    let before = program.counters();
    let action = program.run(frame);
    let after = program.counters();
    let raised: Vec<_> =
        Counter::ALL.iter().copied().filter(|c| after[*c as usize] != before[*c as usize]).collect();
    assert_eq!(raised.len(), 1, "one counter a packet, not {raised:?}");
    assert_eq!(after[raised[0] as usize] - before[raised[0] as usize], 1, "one packet, counted once");
    (action, raised[0])
}

impl Loaded for XdpProgram {
    fn run(&mut self, frame: &[u8]) -> u32 {
        self.test_run(frame, 1).expect("a test run").action
    }

    fn counters(&self) -> Counts {
        XdpProgram::counters(self).expect("counters")
    }

    fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) {
        XdpProgram::set_socket(self, queue, socket).expect("a socket in the map");
    }
}

/// The program as libbpf loads it.
pub(crate) struct Libbpf(Object);

impl Libbpf {
    pub(crate) fn load(settings: &ProgramSettings<'_>) -> Self {
        let config = Config::new(settings);
        // libbpf knows where a global lies only once it has loaded an object.
        let at = global_offset(&open().load().expect("libbpf loads the object"), "config");

        let mut open = open();
        let mut rodata = open
            .maps_mut()
            .find(|map| map.name().to_string_lossy().ends_with(".rodata"))
            .expect("a map for the globals");
        let bytes = rodata.initial_value_mut().expect("its first value");
        bytes[at..at + size_of::<Config>()].copy_from_slice(config.as_bytes());

        let mut program = Self(open.load().expect("libbpf loads the object"));
        for address in settings.sources {
            program.map("sources").update(&mapped(*address), &[1], MapFlags::ANY).expect("an entry");
        }
        program
    }

    fn map(&mut self, name: &str) -> MapMut<'_> {
        self.0.maps_mut().find(|map| map.name() == name).expect("the map")
    }
}

impl Loaded for Libbpf {
    fn run(&mut self, frame: &[u8]) -> u32 {
        let program = self.0.progs_mut().next().expect("the program");
        let input = ProgramInput { data_in: Some(frame), ..ProgramInput::default() };
        program.test_run(input).expect("a test run").return_value
    }

    fn counters(&self) -> Counts {
        let map = self.0.maps().find(|map| map.name() == "counters").expect("the map");
        let mut counts = [0; COUNTERS];
        for (number, count) in counts.iter_mut().enumerate() {
            let key = (number as u32).to_ne_bytes();
            let values = map.lookup_percpu(&key, MapFlags::ANY).expect("a lookup").expect("an entry");
            *count = values
                .iter()
                .map(|value| u64::from_ne_bytes(value.as_slice().try_into().expect("8 bytes")))
                .sum();
        }
        counts
    }

    fn set_socket(&mut self, queue: u32, socket: BorrowedFd<'_>) {
        let value = socket.as_raw_fd().to_ne_bytes();
        self.map("xsks").update(&queue.to_ne_bytes(), &value, MapFlags::ANY).expect("an entry");
    }
}

fn open() -> libbpf_rs::OpenObject {
    ObjectBuilder::default().open_memory(object()).expect("libbpf opens the object")
}

/// The position of the global in `.rodata`.
fn global_offset(object: &Object, name: &str) -> usize {
    let btf = object.btf().expect("BTF that parses").expect("BTF");
    let section: DataSec<'_> = btf.type_by_name(".rodata").expect("the section");
    let global = section
        .iter()
        .find(|member| {
            btf.type_by_id::<libbpf_rs::btf::BtfType<'_>>(member.ty)
                .is_some_and(|variable| variable.name().is_some_and(|found| found == name))
        })
        .expect("the global");
    global.offset as usize
}

/// Both loaders' programs with these settings.
pub(crate) fn both(settings: &ProgramSettings<'_>) -> [(&'static str, Box<dyn Loaded>); 2] {
    [
        ("aya", Box::new(XdpProgram::load(settings).expect("aya loads the object"))),
        ("libbpf", Box::new(Libbpf::load(settings))),
    ]
}
