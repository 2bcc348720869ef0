//! What scans have written, as a page and as maps: looked at by a browser, and by programs that read pictures.

use std::path::{Path, PathBuf};
use std::process::Output;

use lab::tools::tool;
use lab::{HOSTS, Lab, have_root};
use serde_json::Value;
use support::browser::{Browser, Look, have_browser};
use support::scanner::xdpmap;
use support::{Scans as _, read};

/// Text that would run if it were not escaped.
const HOSTILE: &str = "</style></script><script>window.owned=1</script><img/src=x/onerror=window.owned=1>\"'<svg/onload=window.owned=1>";
/// Wide and light, wide and dark, and on a phone.
const LOOKS: [Look; 3] = [
    Look { width: 1200, is_dark: false },
    Look { width: 1200, is_dark: true },
    Look { width: 375, is_dark: true },
];
/// What each chart has to have in it.
const CHARTS: [(&str, u64); 10] = [
    ("#time svg.chart path.line", 3),
    ("#time details tbody tr", 2),
    ("#flow svg.flow rect", 8),
    ("#map image", 1),
    ("#map tbody tr", 2),
    ("#rtt rect.column", 1),
    ("#kinds rect.on", 1),
    ("dl.figures dd.value", 6),
    ("#remarks li, #remarks p", 1),
    ("#means tr", 10),
];

/// Runs a command that reads files in this folder. It needs no network, and has that of the machine.
fn run(folder: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } = xdpmap().args(arguments).current_dir(folder).output().unwrap();
    (status.code(), String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr))
}

/// A scan of half of the lab and a part that is left out, with round-trip times. Its files are in the lab's folder.
fn scan(lab: &Lab) -> PathBuf {
    let mut command =
        lab.xdpmap("-M icmp_echo_time -r 3000 -c 1 -q --exclude 198.18.4.0/22 -u u.csv -m m.json -o r.csv");
    command.args(["-f", "saddr,classification,success,repeat,rtt_us", "--notes", HOSTILE, "198.18.0.0/19"]);
    let output = command.current_dir(lab.folder()).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    lab.folder().to_owned()
}

/// How many elements of the page a selector finds.
fn count(browser: &mut Browser, selector: &str) -> u64 {
    browser.value(&format!("document.querySelectorAll({}).length", Value::from(selector))).as_u64().unwrap()
}

/// The page of a scan has data in each chart, whatever it looks like. It loads nothing, and nothing of what others have
/// said runs in it.
#[test]
fn a_report_in_a_browser() {
    if !have_browser() {
        return;
    }
    let lab = Lab::new(2);
    let folder = scan(&lab);
    // As a server might have said it, if a module let it choose its kind.
    let rows =
        read(&folder.join("r.csv")) + &format!("198.18.0.9,\"{}\",1,1,5\n", HOSTILE.replace('"', "\"\""));
    std::fs::write(folder.join("r.csv"), rows).unwrap();
    let (code, said) =
        run(&folder, &["report", "m.json", "-u", "u.csv", "-o", "report.html", "--title", HOSTILE]);
    assert_eq!((code, said.as_str()), (Some(0), ""));
    let page = folder.join("report.html");
    let mut browser = Browser::start();
    for look in LOOKS {
        browser.load(&page, look);
        for (selector, least) in CHARTS {
            let found = count(&mut browser, selector);
            assert!(found >= least, "{look:?}: {selector}: {found}, not {least}");
        }
        for text in ["#kinds th", "h1", "#means td"] {
            let shown = browser
                .value(&format!("[...document.querySelectorAll('{text}')].map(e => e.textContent).join()"));
            assert!(shown.as_str().unwrap().contains(HOSTILE), "{text}: {shown}");
        }
        assert_eq!(browser.value("'owned' in window"), false, "{look:?}");
        let widths = browser.value("[document.documentElement.scrollWidth, innerWidth]");
        assert!(widths[0].as_u64() <= widths[1].as_u64(), "{look:?}: it is {widths} wide");
        let paper = browser.value("getComputedStyle(document.body).backgroundColor");
        assert_eq!(paper == "rgb(246, 247, 249)", !look.is_dark, "{paper}");
        assert_eq!(browser.complaints(), Vec::<String>::new(), "{look:?}");
        assert_eq!(browser.requests(), [format!("file://{}", page.display())]);
        assert!(browser.picture().starts_with(b"\x89PNG"));
    }
    the_map_tells(&mut browser);
    unnamed(&mut browser);
    the_policy_holds(&mut browser);
}

/// The map names the network below the pointer, what it is and its hits; the arrow keys move on.
fn the_map_tells(browser: &mut Browser) {
    let at = |x: f64, y: f64| {
        format!(
            "(() => {{ const map = document.getElementById('hilbert'); const box = map.getBoundingClientRect();
             map.dispatchEvent(new PointerEvent('pointermove', {{clientX: box.left + {x} * box.width,
             clientY: box.top + {y} * box.height}})); return document.getElementById('cell').textContent; }})()"
        )
    };
    // 198.18.0.0/18 is the square around the targets. Its upper half was not asked for.
    let told: Vec<String> = (0..64u32)
        .map(|cell| at(f64::from(cell % 8) / 8.0 + 0.01, f64::from(cell / 8) / 8.0 + 0.01))
        .map(|expression| browser.value(&expression).as_str().unwrap().to_owned())
        .collect();
    let having = |words: &str| told.iter().filter(|told| told.ends_with(words)).count();
    assert_eq!((having(": 1 successes, scanned"), having(": 0 successes, left out")), (28, 4), "{told:?}");
    assert_eq!(having(": 0 successes, not among the targets"), 32, "{told:?}");
    let moved = browser.value(
        "(() => { document.getElementById('hilbert').dispatchEvent(new KeyboardEvent('keydown', {key: 'ArrowLeft'}));
         return document.getElementById('cell').textContent; })()",
    );
    assert!(moved != told[63].as_str() && moved.as_str().unwrap().starts_with("198.18."), "{moved}");
}

/// Each picture has a name for those who do not see it, or is hidden from them because its numbers are beside it; each
/// text can be told from its ground.
fn unnamed(browser: &mut Browser) {
    let bare = browser.value(
        "[...document.querySelectorAll('svg')].filter(e => !e.getAttribute('aria-label') && !e.ariaHidden).length",
    );
    assert_eq!(bare, 0);
    // The contrast of WCAG 2.2, 1.4.3, of each style of text on the ground that is behind it.
    let weak = browser.value(
        "(() => { const part = c => { c /= 255; return c <= .04045 ? c / 12.92 : ((c + .055) / 1.055) ** 2.4; };
         const light = text => { const [r, g, b] = text.match(/[\\d.]+/g).map(Number);
           return .2126 * part(r) + .7152 * part(g) + .0722 * part(b); };
         const ground = e => { for (; e; e = e.parentElement) { const color = getComputedStyle(e).backgroundColor;
           if (color !== 'rgba(0, 0, 0, 0)') return color; } };
         return [...document.querySelectorAll('body *')].filter(e => e.textContent && !e.children.length
           && !['SCRIPT', 'TITLE', 'title', 'text'].includes(e.tagName)).map(e => {
             const [a, b] = [getComputedStyle(e).color, ground(e)].map(light);
             return [(Math.max(a, b) + .05) / (Math.min(a, b) + .05), e.className + ' ' + e.tagName];
           }).filter(([contrast]) => contrast < 4.5).map(String); })()",
    );
    assert_eq!(weak, serde_json::json!([]));
}

/// Even what got into the page as markup could neither run nor ask for anything.
fn the_policy_holds(browser: &mut Browser) {
    browser.events.clear();
    let refused = browser.value(
        "new Promise(done => { const refused = []; const box = document.createElement('div');
         document.addEventListener('securitypolicyviolation', event => refused.push(event.effectiveDirective));
         const script = document.createElement('script'); script.textContent = 'window.owned = 1';
         document.body.append(script, box);
         box.innerHTML = '<img src=\"http://192.0.2.1/a\" onerror=\"window.owned = 1\"><p style=\"color: red\">';
         setTimeout(() => done(refused.sort()), 300); })",
    );
    assert_eq!(
        refused,
        serde_json::json!(["img-src", "script-src-attr", "script-src-elem", "style-src-attr"])
    );
    assert_eq!(browser.value("'owned' in window"), false);
}

/// Maps of the same hits from each format are the same picture, which a program that is not ours reads, and so do
/// shards and a pipe.
#[test]
fn maps_of_each_format() {
    if !have_root() {
        return;
    }
    let lab = Lab::new(2);
    lab.start_nginx(&HOSTS.servers());
    let folder = lab.folder().to_owned();
    let mut command =
        lab.xdpmap("-p 80 -r 20000 -c 1 -q -f saddr,sport,success,repeat -m m.json 198.18.0.0/19");
    for (file, form) in
        [("r.csv", "csv"), ("r.json", "json"), ("r.txt", "hostport"), ("r.parquet", "parquet")]
    {
        command.args(["-o", file, "-O", form]);
    }
    command.args(["--output-filter", "success = 1 && repeat = 0"]);
    let output = command.current_dir(&folder).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
    let addresses: Vec<String> =
        read(&folder.join("r.txt")).lines().map(|line| line.split(':').next().unwrap().to_owned()).collect();
    assert!(addresses.len() > 30, "{addresses:?}");
    std::fs::write(folder.join("hosts"), addresses.join("\n") + "\n").unwrap();
    let draw = |arguments: &str| {
        let (code, said) = run(&folder, &arguments.split(' ').collect::<Vec<_>>());
        assert_eq!((code, said.as_str()), (Some(0), ""), "{arguments}");
    };
    for file in ["r.csv", "r.json", "r.txt", "r.parquet", "hosts"] {
        draw(&format!("map --prefix 198.18.0.0/16 {file} -o {file}.png"));
        assert!(
            std::fs::read(folder.join(format!("{file}.png"))).unwrap()
                == std::fs::read(folder.join("r.csv.png")).unwrap(),
            "{file} gives another picture"
        );
    }
    let mut piped = xdpmap();
    piped.args(["map", "--prefix", "198.18.0.0/16", "-", "-o", "-"]).current_dir(&folder);
    let piped = piped.stdin(std::fs::File::open(folder.join("r.json")).unwrap()).output().unwrap();
    assert!(piped.stdout == std::fs::read(folder.join("r.csv.png")).unwrap(), "{piped:?}");
    draw("map --prefix 198.18.0.0/16 --plain --order 8 r.csv -o plain.png");
    if have_browser() {
        let pixels = pixels(&folder.join("plain.png"));
        assert_eq!(pixels, (1024, addresses.len() * 16), "each cell is four by four pixels");
    }
    // All of IPv4, as XML with the same cells inside.
    draw("map r.csv -o all.svg");
    let svg = read(&folder.join("all.svg"));
    assert!(svg.starts_with("<?xml") && svg.contains("data:image/png;base64,"));
    let mut parse = tool("python3");
    parse.args(["-c", "import sys, xml.etree.ElementTree as x; print(x.parse(sys.argv[1]).getroot().tag)"]);
    let parsed = parse.arg(folder.join("all.svg")).output().unwrap();
    assert_eq!(parsed.stdout, b"{http://www.w3.org/2000/svg}svg\n", "{parsed:?}");
}

/// The width of a picture, and how many of its pixels have a full colour, as Chromium decodes them.
fn pixels(picture: &Path) -> (u64, usize) {
    let page = picture.with_extension("html");
    let png = std::fs::read(picture).unwrap();
    let text = support::browser::as_address(&png);
    std::fs::write(&page, format!("<!doctype html><title>p</title><img id=i src=\"{text}\">")).unwrap();
    let mut browser = Browser::start();
    browser.load(&page, LOOKS[0]);
    let found = browser.value(
        "(() => { const i = document.getElementById('i'); const c = document.createElement('canvas');
         [c.width, c.height] = [i.naturalWidth, i.naturalHeight]; const x = c.getContext('2d'); x.drawImage(i, 0, 0);
         const d = x.getImageData(0, 0, c.width, c.height).data; let n = 0;
         for (let k = 0; k < d.length; k += 4) n += Math.max(d[k], d[k + 1], d[k + 2]) === 255 ? 1 : 0;
         return [c.width, n]; })()",
    );
    (found[0].as_u64().unwrap(), found[1].as_u64().unwrap() as usize)
}
