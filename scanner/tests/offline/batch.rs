//! Scans as tasks of batch systems: the shard from the environment, the shared folder, and the job files in `conf/`.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use lab::tools::{path_of, tool};
use serde_json::Value;
use support::read;
use support::sandbox::{Sandbox, dry};
use support::scanner::{path, xdpmap, xdpmap_as};
use xdpmap::plan::batch::{Count, ENGINES, Numbering};

use crate::plan::{plan, printed};

/// The variables of a task of `sbatch --array=0-15`.
const SLURM: &str = "SLURM_ARRAY_TASK_ID=3 SLURM_ARRAY_TASK_MIN=0 SLURM_ARRAY_TASK_MAX=15 SLURM_ARRAY_TASK_STEP=1 \
                     SLURM_ARRAY_TASK_COUNT=16 SLURM_RESTART_COUNT=2 SLURM_PROCID=0 SLURM_NTASKS=1";

/// A command in an environment such as `A=1 B=2`.
fn within<'a>(command: &'a mut Command, variables: &str) -> &'a mut Command {
    command.envs(variables.split_whitespace().map(|pair| pair.split_once('=').unwrap()))
}

/// The plan, the log and the metadata say which batch system has chosen the shard, and how it was reckoned.
#[test]
fn the_shard_of_a_task() {
    const TASK: &str = "shard 3 of 16 by Slurm array: SLURM_ARRAY_TASK_ID is 3, counted from 0; 16 shards by \
                        SLURM_ARRAY_TASK_COUNT; started again 2 times";
    let sandbox = Sandbox::new();
    let arguments = "-p 80 -e 7 --shard auto --total-rate 10003 --output-dir all -O json -O csv 8.8.0.0/16";
    let text = printed(&sandbox.run(within(&mut plan(), SLURM), arguments));
    assert!(text.contains("\norder       seed 7; shard 3 of 16\n"), "{text}");
    assert!(text.contains(&format!("\nbatch task  {TASK}\n")), "{text}");
    assert!(
        text.contains(
            "\nrate        at most 625 probes per second, not counting resets, of 10003 for all shards\n"
        ),
        "{text}"
    );
    assert!(text.contains("\nresults     all/shard-00003/results.json as json: "), "{text}");
    assert!(text.contains("\n            all/shard-00003/results.csv as csv: "), "{text}");
    assert!(text.contains("\nmetadata    all/shard-00003/metadata.json\n"), "{text}");
    assert!(text.contains("all/shard-00003/results.json.xdpmap, every 5 s\n"), "{text}");
    assert!(!sandbox.path().join("all").exists(), "a plan makes no folder");

    let output = sandbox.run(within(dry().args(["-S", "192.0.2.7"]), SLURM), arguments);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    printed(&output);
    assert!(log.contains(&format!("[INFO] plan: {TASK}\n")), "{log}");
    let metadata: Value =
        serde_json::from_str(&read(&sandbox.path().join("all/shard-00003/metadata.json"))).unwrap();
    for (key, value) in [
        ("shard_num", Value::from(3)),
        ("total_shards", 16.into()),
        ("rate", 625.into()),
        ("total_rate", 10_003.into()),
        ("batch_engine", "Slurm array".into()),
        ("batch_restarts", 2.into()),
    ] {
        assert_eq!(metadata[key], value, "{key}");
    }
    assert!(metadata["batch_reckoning"].as_str().unwrap().starts_with("SLURM_ARRAY_TASK_ID is 3, "));
}

/// What the user has named is not named again, and a scan that is not split has the first folder.
#[test]
fn names_of_files() {
    let sandbox = Sandbox::new();
    for (arguments, words) in [
        ("--output-dir all", &["all/shard-00000/results.csv as csv", "all/shard-00000/metadata.json"][..]),
        ("--output-dir all -O hostport", &["all/shard-00000/results.txt as hostport"]),
        ("--output-dir all -O parquet", &["all/shard-00000/results.parquet as parquet"]),
        ("--output-dir all -O pcap", &["all/shard-00000/results.pcap as pcap"]),
        ("--output-dir all -O xml", &["all/shard-00000/results.xml as xml"]),
        ("--output-dir all -O masscan-json", &["all/shard-00000/results.masscan.json as masscan-json"]),
        ("-o r.gnmap", &["r.gnmap as grepable"]),
        (
            "--output-dir all -o own.csv",
            &["results     own.csv as csv", "own.csv.xdpmap, ", "all/shard-00000/metadata.json"],
        ),
        ("--output-dir all -m own.json", &["all/shard-00000/results.csv as csv", "metadata    own.json\n"]),
        ("--output-dir all --checkpoint own.xdpmap", &["/own.xdpmap, every 5 s"]),
        ("--output-dir all -e 1 --shards 70 --shard 69", &["all/shard-00069/results.csv as csv"]),
    ] {
        let text = printed(&sandbox.run(&mut plan(), &format!("-p 80 8.8.0.0/16 {arguments}")));
        assert!(words.iter().all(|word| text.contains(word)), "{arguments}: {text}");
    }
}

/// Each is refused in one line with exit code 2, and no file is written.
#[test]
fn what_is_not_certain() {
    let sandbox = Sandbox::new();
    std::fs::create_dir_all(sandbox.path().join("all/shard-00007")).unwrap();
    std::fs::create_dir_all(sandbox.path().join("all/shard-x")).unwrap();
    std::fs::write(sandbox.path().join("file"), "").unwrap();
    for (variables, arguments, words) in [
        ("HOME=/", "--shard auto", &["--shard: auto: no batch system has numbered this task"][..]),
        ("JOB_COMPLETION_INDEX=1", "--shard auto", &["--shard: auto: Kubernetes does not say", "--shards"]),
        (
            "JOB_COMPLETION_INDEX=1 PARALLEL_SEQ=1",
            "--shard auto --shards 4",
            &["Kubernetes and GNU parallel have both"],
        ),
        ("JOB_COMPLETION_INDEX=4", "--shard auto --shards 4", &["JOB_COMPLETION_INDEX is 4", "from 0 to 3"]),
        (
            SLURM,
            "--shard auto --shards 20",
            &["SLURM_ARRAY_TASK_COUNT is 16, and --shards 20", "submitted again"],
        ),
        ("HOME=/", "--shard automatic --shards 4", &["--shard", "'automatic'", "or auto for"]),
        // The folder of a scan that was split into more shards.
        (
            "HOME=/",
            "--shard 1 --shards 7 --output-dir all",
            &["--output-dir: all/shard-00007 is there", "another folder"],
        ),
        ("HOME=/", "--output-dir all", &["all/shard-00007 is there, and a scan in 1 shards"]),
        ("HOME=/", "--output-dir file", &["--output-dir: cannot make file/shard-00000"]),
        ("HOME=/", "--output-dir new -O redis", &["--output-dir: redis is no file", "-o for each output"]),
        // Rates.
        ("HOME=/", "--total-rate 0", &["--total-rate", "'0'", "--rate 0"]),
        ("HOME=/", "--total-rate 5K -r 10", &["--total-rate", "--rate", "cannot be used with"]),
        ("HOME=/", "--total-rate 5K -B 10M", &["--total-rate", "--bandwidth", "cannot be used with"]),
        (
            "HOME=/",
            "--total-rate 0.0005 --shards 9 --shard 0",
            &["--total-rate: 0.0005 probes", "fewer shards"],
        ),
        ("HOME=/", "--total-rate 9000000000000 --shards 9 --shard 0", &["--total-rate: no NIC"]),
    ] {
        let arguments = format!("-p 80 -e 7 -S 192.0.2.7 8.8.8.0/24 {arguments}");
        sandbox.refuses(within(&mut dry(), variables), &arguments, 2, words);
        assert!(!sandbox.path().join("new").exists(), "{arguments}");
    }
}

/// `iterate` prints the targets of the task's shard.
#[test]
fn targets_of_a_task() {
    let targets = |variables: &str, arguments: &str| {
        let output = within(&mut xdpmap(), variables)
            .args(["iterate", "-e", "7", "8.8.8.0/24"])
            .args(arguments.split(' '))
            .output();
        printed(&output.unwrap())
    };
    assert_eq!(targets(SLURM, "--shard auto"), targets("HOME=/", "--shards 16 --shard 3"));
    let output = xdpmap().args(["iterate", "-e", "7", "--shard", "auto"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

/// The page has each batch system with its variables and an example.
#[test]
fn batch_systems_are_described() {
    let text = crate::documents::document("docs/many-machines.md");
    let rows = crate::documents::rows(&text, "batch system");
    assert_eq!(rows.len(), ENGINES.len());
    for (cells, engine) in rows.iter().zip(&ENGINES) {
        let (first, step) = match engine.numbering {
            Numbering::From(first) => (first.to_string(), None),
            Numbering::Range { first, step, .. } => (first.to_owned(), Some(step)),
        };
        let count = match engine.count {
            Count::Stated(name) | Count::OfRangeAnd(name) | Count::Last(name) => name,
            Count::OfRange => "SGE_TASK_LAST",
            Count::Unknown => "--shards",
        };
        assert_eq!(cells[..2], [engine.name, &format!("`{}`", engine.index)]);
        assert!(cells[2].trim_matches('`').starts_with(&first), "{cells:?}");
        assert!(step.is_none_or(|step| cells[2].contains(step)), "{cells:?}");
        assert!(cells[3].contains(count) && cells[4].contains(engine.example), "{cells:?}");
    }
}

/// A file of `conf/`.
fn job(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../conf").join(name)
}

/// The plan of a job's words, in the environment of one of its tasks; its folders are below the sandbox.
#[track_caller]
fn accepts(sandbox: &Sandbox, words: &[String], variables: &str) -> String {
    for (folder, name) in [
        ("scan", "networks.txt"),
        ("etc", "networks.txt"),
        ("etc", "blocklist.conf"),
        ("scan", "blocklist.conf"),
    ] {
        std::fs::create_dir_all(sandbox.path().join(folder)).unwrap();
        let text = if name == "networks.txt" { "8.8.0.0/16\n" } else { "8.8.4.0/24\n" };
        std::fs::write(sandbox.path().join(folder).join(name), text).unwrap();
    }
    let at = |folder: &str| sandbox.path().join(folder).to_str().unwrap().to_owned();
    let words = words.iter().map(|word| {
        word.replace("=/scan", &format!("={}", at("scan")))
            .replace("=/etc/xdpmap", &format!("={}", at("etc")))
    });
    printed(&within(plan().args(words), variables).current_dir(sandbox.path()).output().unwrap())
}

/// The strings of a list.
fn strings(value: &Value) -> Vec<String> {
    value.as_array().unwrap().iter().map(|word| word.as_str().unwrap().to_owned()).collect()
}

/// The script, run by a shell as Slurm does.
#[test]
fn the_job_of_slurm() {
    let sandbox = Sandbox::new();
    let mut shell = xdpmap_as(path_of("bash"));
    shell.arg(job("slurm.sbatch")).args(["--plan", "-i", "lo", "-S", "192.0.2.7", "-p", "443"]);
    let output = sandbox.run(within(shell.env("PATH", path()), SLURM), "8.8.0.0/16");
    let text = printed(&output);
    assert!(
        text.contains("seed 20260131; shard 3 of 16\n") && text.contains(" 10000 probes per second"),
        "{text}"
    );
    assert!(text.contains("\nresults     ./shard-00003/results.csv as csv"), "{text}");
    let file = read(&job("slurm.sbatch"));
    assert!(file.contains("\n#SBATCH --array=0-15\n") && file.contains("XDPMAP_TOTAL_RATE:-160K"));
}

/// The published schema of Kubernetes accepts the manifest; its numbers and exit codes are those of the program.
#[test]
fn the_job_of_kubernetes() {
    const READ: &str = r#"
import json, sys, yaml, kubernetes_validate
data = yaml.safe_load(open(sys.argv[1]))
for version in ("1.29", kubernetes_validate.latest_version()):
    kubernetes_validate.validate(data, version, strict=True)
wrong = json.loads(json.dumps(data))
wrong["spec"]["backoffLimitPerShard"] = 1
try:
    kubernetes_validate.validate(wrong, "1.29", strict=True)
    sys.exit("a key that does not exist is accepted")
except kubernetes_validate.ValidationError:
    pass
json.dump(data, sys.stdout)
"#;
    let output = tool("python3").args(["-c", READ]).arg(job("kubernetes-job.yaml")).output().unwrap();
    let manifest: Value = serde_json::from_str(&printed(&output)).unwrap();
    let spec = &manifest["spec"];
    let container = &spec["template"]["spec"]["containers"][0];
    let text = accepts(&Sandbox::new(), &strings(&container["args"]), "JOB_COMPLETION_INDEX=3");
    assert!(text.contains(&format!("shard 3 of {}\n", spec["completions"])), "{text}");
    let mut codes = BTreeSet::new();
    for rule in spec["podFailurePolicy"]["rules"].as_array().unwrap() {
        let Some(values) = rule["onExitCodes"]["values"].as_array() else { continue };
        assert_eq!(rule["onExitCodes"]["containerName"], container["name"]);
        codes.extend(
            values.iter().map(|code| (code.as_u64().unwrap(), rule["action"].as_str().unwrap().to_owned())),
        );
    }
    let known: BTreeSet<u64> = xdpmap::exit::Exit::ALL.iter().map(|exit| exit.number().into()).collect();
    assert!(codes.iter().all(|(code, _)| known.contains(code)), "{codes:?}");
    assert!(codes.contains(&(2, "FailJob".to_owned())) && codes.contains(&(130, "Ignore".to_owned())));
    let needs: BTreeSet<String> =
        xdpmap::privileges::NEEDS.iter().map(|need| need.name.replace("CAP_", "")).collect();
    let added: BTreeSet<String> =
        strings(&container["securityContext"]["capabilities"]["add"]).into_iter().collect();
    assert_eq!(added, needs);
}

/// Amazon's own model of the request accepts the job definition.
#[test]
fn the_job_of_aws_batch() {
    const READ: &str = r#"
import json, sys
import botocore.session, botocore.validate
shape = botocore.session.get_session().get_service_model("batch").operation_model("RegisterJobDefinition").input_shape
data = json.load(open(sys.argv[1]))
said = botocore.validate.ParamValidator().validate(data, shape)
if said.has_errors():
    sys.exit(said.generate_report())
assert botocore.validate.ParamValidator().validate({**data, "retries": 1}, shape).has_errors()
"#;
    let output = tool("python3").args(["-c", READ]).arg(job("aws-batch.json")).output().unwrap();
    printed(&output);
    let definition: Value = serde_json::from_str(&read(&job("aws-batch.json"))).unwrap();
    let mut words = strings(&definition["containerProperties"]["command"]);
    words.remove(0);
    for word in &mut words {
        if let Some(name) = word.strip_prefix("Ref::") {
            *word = definition["parameters"][name].as_str().unwrap().to_owned();
        }
    }
    let text = accepts(
        &Sandbox::new(),
        &words,
        "AWS_BATCH_JOB_ARRAY_INDEX=3 AWS_BATCH_JOB_ARRAY_SIZE=16 AWS_BATCH_JOB_ATTEMPT=1",
    );
    assert!(
        text.contains("shard 3 of 16\n") && text.contains("/scan/shard-00003/results.csv as csv"),
        "{text}"
    );
    assert!(text.contains(" 10000 probes per second"), "{text}");
}
