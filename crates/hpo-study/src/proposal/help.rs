//! A program's `--help` to its options: argparse, click, typer, tyro, absl, clap, getopt, and Hydra's configuration.

use std::sync::LazyLock;

use regex::Regex;

/// An option that a program says it has.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ProgramOption {
    /// Its longest spelling, with hyphens if it has any: `--batch-size`, `-lr`, `optimizer.lr`.
    pub flag: String,
    /// Whether a value follows.
    pub takes_value: bool,
    /// The values it can take, if they are listed.
    pub choices: Vec<String>,
    /// Its default, if that is said.
    pub default: Option<String>,
    /// What its value is called: `FLOAT`, `N`; lower case.
    pub metavar: String,
}

impl ProgramOption {
    /// Its name, as an argument's without hyphens before it.
    #[must_use]
    pub fn name(&self) -> &str {
        self.flag.trim_start_matches('-')
    }

    /// Its name in one spelling: `batch_size`.
    #[must_use]
    pub fn key(&self) -> String {
        let name = self.name().to_lowercase().replace('-', "_");
        name.rsplit('.').next().unwrap_or_default().to_owned()
    }
}

/// Longer texts are cut: no help is.
const LOOKED_AT: usize = 1 << 20;

/// A regex of ours; should one not compile, it finds nothing.
fn ours(regex: &str) -> Option<Regex> {
    Regex::new(regex).ok()
}

static SPELLING: LazyLock<Option<Regex>> =
    LazyLock::new(|| ours(r"^(--?[A-Za-z][\w.\[\]-]*)(?:[= ]?(.*))?$"));
static DEFAULT: LazyLock<Option<Regex>> = LazyLock::new(|| {
    ours(
        r#"(?i)[\[(;,]?\s*\bdefaults?(?:\s+(?:is|to|value))?\s*[:= ]\s*(?:'([^']*)'|"([^"]*)"|([^\])\s,;]+))"#,
    )
});
static LAST_BRACKET: LazyLock<Option<Regex>> = LazyLock::new(|| ours(r"\[([-+.\w]+)\]\s*$"));
static CHOICES: LazyLock<Option<Regex>> = LazyLock::new(|| {
    ours(r"(?i)(?:possible values:|choices:|one of:?)\s*([\w./-]+(?:\s*[,|]\s*[\w./-]+)+)")
});

/// Every option in a help text, each once.
#[must_use]
pub fn options(help: &str) -> Vec<ProgramOption> {
    let end = (0..=LOOKED_AT.min(help.len()))
        .rev()
        .find(|i| help.is_char_boundary(*i));
    let help = help.get(..end.unwrap_or(0)).unwrap_or_default();
    // What only terminals need goes with the lines; anything else of the kind is nobody's name or value.
    let kept = |c: char| !c.is_control() || "\n\r\t\u{8}\u{1b}\u{9b}".contains(c);
    let help: &str = &help.replace(|c: char| !kept(c), " ");
    let mut found: Vec<ProgramOption> = Vec::new();
    for block in blocks(help) {
        if let Some(option) = read_block(&block)
            && !["help", "h", "version", "V", "helpfull", "helpshort"].contains(&option.name())
            && found.iter().all(|o| o.name() != option.name())
        {
            found.push(option);
        }
    }
    for option in hydra(help) {
        if found.iter().all(|o| o.name() != option.name()) {
            found.push(option);
        }
    }
    found
}

/// The lines of each option, as one text: flags, two blanks, words.
fn blocks(help: &str) -> Vec<String> {
    let mut blocks: Vec<(usize, String)> = Vec::new();
    let mut open = false;
    for line in help.lines() {
        // Rich's boxes, and marks of what is required.
        let line = line.replace(
            ['│', '┃', '|'],
            if line.contains('│') || line.contains('┃') {
                ""
            } else {
                "|"
            },
        );
        let line = crate::printout::text::plain(line.as_bytes());
        let text = line.trim();
        let text = text.strip_prefix("* ").unwrap_or(text).trim_start();
        let indent = line.len() - line.trim_start().len();
        let is_option = text.starts_with('-')
            && text
                .trim_start_matches('-')
                .starts_with(|c: char| c.is_ascii_alphabetic() || c == '[')
            && !text.starts_with("---");
        if is_option && indent <= 16 {
            blocks.push((indent, text.to_owned()));
            open = true;
        } else if text.is_empty() {
            open = false;
        } else if open && let Some((first, block)) = blocks.last_mut() {
            if indent > *first {
                block.push_str("  ");
                block.push_str(text);
            } else {
                open = false;
            }
        }
    }
    blocks.into_iter().map(|(_, block)| block).collect()
}

fn read_block(block: &str) -> Option<ProgramOption> {
    let (flags, words) = split_flags(block);
    let mut option = ProgramOption::default();
    for spelling in top_level_commas(&flags) {
        let captures = SPELLING.as_ref()?.captures(spelling.trim());
        let Some(captures) = captures else {
            continue;
        };
        let flag = captures.get(1).map_or("", |m| m.as_str());
        let value = captures.get(2).map_or("", |m| m.as_str()).trim();
        // absl: `--[no]shuffle`; click: `--shuffle / --no-shuffle`.
        let value = if value.starts_with('/') { "" } else { value };
        if flag.trim_start_matches('-').len() > option.name().len() {
            flag.clone_into(&mut option.flag);
        }
        if !value.is_empty() {
            option.takes_value = true;
            option.choices = listed(value);
            if option.choices.is_empty() {
                option.metavar = value.trim_matches(['<', '>', '[', ']', '=']).to_lowercase();
            }
        }
    }
    if option.flag.is_empty() || option.flag.contains('[') {
        return None;
    }
    option.default = default_of(&words);
    if option.choices.is_empty()
        && let Some(list) = CHOICES
            .as_ref()
            .and_then(|r| r.captures(&words))
            .and_then(|c| c.get(1))
    {
        option.choices = split_list(list.as_str());
        option.takes_value = true;
    }
    // absl and C programs say nothing of a value but its default.
    let number = option
        .default
        .as_deref()
        .is_some_and(|d| d.parse::<f64>().is_ok());
    option.takes_value |= number;
    Some(option)
}

/// Where the flags end and the words begin: at two blanks, or at a colon behind the flag (absl, C).
fn split_flags(block: &str) -> (String, String) {
    let colon = block.find(": ").filter(|at| {
        let before = &block[..*at];
        !before.contains("  ") && !before.contains(['{', '<', '[', '('])
    });
    // C programs: `-c cost : set the parameter C`.
    let spaced = block.find(" : ").filter(|at| !block[..*at].contains("  "));
    let blanks = block.find("  ");
    let at = [colon, spaced, blanks].into_iter().flatten().min();
    let at = at.unwrap_or(block.len());
    let (flags, words) = block.split_at(at);
    let mut words = words.trim_start_matches([':', ' ']);
    let mut flags = flags.to_owned();
    // typer and long lists: the value, or its type, is a column of its own.
    if let Some(rest) = words.strip_prefix(['[', '{'])
        && let Some((list, after)) = rest.split_once([']', '}'])
        && list.contains(['|', ','])
        && !list.to_lowercase().contains("default")
    {
        flags.push_str(&format!(" [{}]", list.replace("  ", " ")));
        words = after;
    }
    let first = words.split_whitespace().next().unwrap_or_default();
    let is_type = [
        "INTEGER", "FLOAT", "TEXT", "INT", "STR", "PATH", "BOOL", "<int>", "<float>", "<str>",
    ];
    if is_type.contains(&first) {
        flags.push(' ');
        flags.push_str(first);
    }
    (flags, words.to_owned())
}

/// Splits at the commas that are not in brackets.
fn top_level_commas(text: &str) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut depth = 0_u32;
    for c in text.chars() {
        match c {
            '{' | '[' | '<' | '(' => depth += 1,
            '}' | ']' | '>' | ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                parts.push(String::new());
                continue;
            }
            _ => {}
        }
        if let Some(part) = parts.last_mut() {
            part.push(c);
        }
    }
    parts
}

/// The values in `{sgd,adam}` or `[sgd|adam]`.
fn listed(value: &str) -> Vec<String> {
    let inner = value
        .strip_prefix('{')
        .and_then(|v| v.split_once('}'))
        .or_else(|| value.strip_prefix('[').and_then(|v| v.split_once(']')))
        .map(|(inner, _)| inner)
        .filter(|inner| inner.contains([',', '|']));
    inner.map_or_else(Vec::new, split_list)
}

fn split_list(list: &str) -> Vec<String> {
    list.split([',', '|'])
        .map(|item| item.trim().trim_matches(['\'', '"']).to_owned())
        .filter(|item| !item.is_empty())
        .collect()
}

fn default_of(words: &str) -> Option<String> {
    let named = DEFAULT.as_ref()?.captures(words);
    let value = match named {
        Some(captures) => (1..=3).find_map(|i| captures.get(i)).map(|m| m.as_str()),
        None => LAST_BRACKET
            .as_ref()?
            .captures(words)
            .and_then(|c| c.get(1))
            .map(|m| m.as_str()),
    }?;
    let value = value.trim().trim_end_matches(['.', ')', ']']);
    let value = value.trim_matches(['\'', '"']);
    (!value.is_empty() && !value.eq_ignore_ascii_case("none")).then(|| value.to_owned())
}

/// The configuration that Hydra prints under `== Config ==`: `key: value`, indented where nested.
fn hydra(help: &str) -> Vec<ProgramOption> {
    let Some((_, config)) = help.split_once("== Config ==") else {
        return Vec::new();
    };
    let mut groups: Vec<(usize, String)> = Vec::new();
    let mut found = Vec::new();
    let lines = config
        .lines()
        .skip_while(|line| line.trim().is_empty() || line.starts_with("Override"));
    for line in lines {
        let text = line.trim();
        let indent = line.len() - line.trim_start().len();
        let Some((key, value)) = text.split_once(':') else {
            if text.is_empty() || text.starts_with('-') {
                continue;
            }
            break;
        };
        groups.retain(|(above, _)| *above < indent);
        let path = groups.iter().map(|(_, name)| name.as_str()).chain([key]);
        let flag = path.collect::<Vec<_>>().join(".");
        let value = value.trim();
        if !key
            .chars()
            .all(|c| c.is_alphanumeric() || "_.-".contains(c))
            || found.len() > 1000
        {
            break;
        }
        if value.is_empty() {
            groups.push((indent, key.to_owned()));
            continue;
        }
        found.push(ProgramOption {
            flag,
            takes_value: true,
            default: (value != "null").then(|| value.trim_matches(['\'', '"']).to_owned()),
            ..ProgramOption::default()
        });
    }
    found
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn read(help: &str) -> Vec<String> {
        options(help)
            .iter()
            .map(|o| {
                let choices = o.choices.join("|");
                let default = o.default.clone().unwrap_or_default();
                let value = if o.takes_value { "=" } else { "" };
                format!("{}{value} {choices} {default}", o.flag)
                    .trim_end()
                    .replace("  ", " ")
            })
            .collect()
    }

    #[test]
    fn argparse_old_and_new() {
        let help = "usage: train.py [-h] [--lr LR]\n\nA trainer\n\noptions:\n  -h, --help            show this help message and exit\n  \
                    --lr LR               learning rate (default: 0.1)\n  -b BATCH_SIZE, --batch-size BATCH_SIZE\n                        \
                    input batch size for training\n                        (default: 64)\n  -n, --num_epochs N    epochs\n  \
                    --optimizer {sgd,adam}\n                        which one (default: sgd)\n  --no-cuda             disables CUDA\n  \
                    --data DIR            where\n";
        assert_eq!(
            read(help),
            [
                "--lr= 0.1",
                "--batch-size= 64",
                "--num_epochs=",
                "--optimizer= sgd|adam sgd",
                "--no-cuda",
                "--data="
            ]
        );
    }

    #[test]
    fn click_typer_and_clap() {
        let click = "Options:\n  -o, --optimizer [adamax, adam,\n                                  sgd]\n                                  [default: adam]\n  \
                     -n, --number-epochs INTEGER     [default: 5]\n  --shuffle / --no-shuffle        [default: shuffle]\n  --help  Show this.\n";
        assert_eq!(read(click)[1..2], ["--number-epochs= 5"]);
        let typer = "╭─ Options ───╮\n│ *  --lr        FLOAT    Learning rate [default: 0.01] │\n│    --epochs    INTEGER  [default: 10]   │\n╰──╯\n";
        assert_eq!(read(typer), ["--lr= 0.01", "--epochs= 10"]);
        let clap = "Options:\n  -l, --learning-rate <LEARNING_RATE>  [default: 0.1]\n      --solver <SOLVER>\n          Which [default: lbfgs] [possible values: lbfgs, sgd]\n  -V, --version\n";
        assert_eq!(
            read(clap),
            ["--learning-rate= 0.1", "--solver= lbfgs|sgd lbfgs"]
        );
    }

    #[test]
    fn absl_hydra_and_c() {
        let absl = "train.py:\n  --batch_size: Batch size.\n    (default: '32')\n    (an integer)\n  --[no]shuffle: Shuffle.\n    (default: 'true')\n";
        assert_eq!(read(absl), ["--batch_size= 32"]);
        let hydra = "train is powered by Hydra.\n\n== Config ==\nOverride anything in the config (foo.bar=value)\n\nlr: 0.1\noptimizer:\n  name: adam\n  betas:\n  - 0.9\n\nPowered by Hydra (https://hydra.cc)\n";
        assert_eq!(read(hydra), ["lr= 0.1", "optimizer.name= adam"]);
        assert_eq!(
            read(&hydra.replace("adam", "a\0d")),
            ["lr= 0.1", "optimizer.name= a d"]
        );
        let twice = hydra.replace("lr: 0.1\n", "lr: 0.1\nlr: 0.2\n");
        assert_eq!(read(&twice), read(hydra), "each once");
        let c = "options:\n-c cost : set the parameter C (default 1)\n-p epsilon : set the epsilon (default 0.1)\n-q : quiet mode\n";
        assert_eq!(read(c), ["-c= 1", "-p= 0.1", "-q"]);
        let fasttext = "  -lr                 learning rate [0.1]\n  -epoch              number of epochs [5]\n  -loss               loss function {ns, hs, softmax} [softmax]\n";
        assert_eq!(read(fasttext)[..2], ["-lr= 0.1", "-epoch= 5"]);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "((\\n| {0,9}-{0,3}[a-z]{0,3}|[\\[{(<|:=,]|\\PC|== Config ==|default){0,2}){0,40}") {
            let _ = options(&text);
        }
    }
}
