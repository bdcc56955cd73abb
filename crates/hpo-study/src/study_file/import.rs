//! `import`: trials from elsewhere.

use std::collections::BTreeMap;

use hpo_recipe::Config;

use super::problem::Problems;
use super::shape::{Shape, Table, Word, key, word};
use super::yaml::{Kind, Node};
use crate::import::{ImportAs, ImportEntry, Refusal};
use crate::spec::Method;

/// The value of `import`.
pub(super) const IMPORTS: Shape = Shape::Either(
    "a path, a map such as `{from: old.csv}`, or a list of them",
    &[Shape::Text, Shape::Table(&IMPORT), Shape::List(&ITEM, 1)],
);
static ITEM: Shape = Shape::Either(
    "a path, or a map such as `{from: old.csv}`",
    &[Shape::Text, Shape::Table(&IMPORT)],
);

/// One entry of `import`
pub(crate) static IMPORT: Table = Table {
    title: "an import",
    keys: &[
        key(
            "from",
            Shape::Text,
            "a study's directory, an Optuna database (SQLite), a CSV or a JSON file",
        )
        .required()
        .hint("write `from: ../runs/yesterday`"),
        key(
            "study_name",
            Shape::Text,
            "which study of a database that holds several",
        ),
        key(
            "metric",
            Shape::Text,
            "what the metric is called there; as here if absent",
        ),
        key(
            "map",
            Shape::Map(&NAME),
            "names of parameters there, and what they are called here",
        )
        .hint("write `map: {learning_rate: lr}`"),
        key(
            "set",
            Shape::Map(&VALUE),
            "values of parameters that are not named there",
        )
        .hint("write `set: {batch_size: 64}`"),
        key(
            "as",
            Shape::Word(USES),
            "what the trials are to this study; evidence if absent",
        ),
        key(
            "rerun",
            Shape::Whole(0, 1000),
            "how many of the best are tried here before anything else; 1 if absent",
        ),
    ],
    foreign: &[
        ("path", "did you mean `from`?"),
        ("file", "did you mean `from`?"),
        ("source", "did you mean `from`?"),
        ("study", "did you mean `from`, or `study_name`?"),
        ("rename", "did you mean `map`?"),
    ],
    hint: Some("write `import: ../runs/yesterday`, or `import: [{from: old.csv, metric: loss}]`"),
};
static NAME: Shape = Shape::Text;
static VALUE: Shape = Shape::Value;
const USES: &[Word] = &[
    word("evidence", "the search learns from their values"),
    word("trials", "the same, and they can be the best"),
    word(
        "prior",
        "only where the good ones were: for values on another scale",
    ),
];

/// Refuses the key in a study that takes no trials from elsewhere.
pub(super) fn check(root: &Node, method: Option<Method>, problems: &mut Problems) {
    let has_several = super::objectives::nodes(root).len() > 1;
    let refusal = root
        .get("import")
        .and_then(|_| Refusal::by(method, has_several));
    if let Some(Refusal { why, instead }) = refusal {
        problems.error_with_hint(
            root.key_span("import"),
            format!("this study takes no trials from elsewhere: {why}"),
            format!("remove `import`; {instead}"),
        );
    }
}

/// Reads all entries.
pub(super) fn read(root: &Node, problems: &mut Problems) -> Vec<ImportEntry> {
    let Some(node) = root.get("import") else {
        return Vec::new();
    };
    let items = match &node.kind {
        Kind::List(items) => items.as_slice(),
        _ => std::slice::from_ref(node),
    };
    let mut entries: Vec<ImportEntry> = Vec::new();
    for item in items {
        let Some(entry) = entry(item) else {
            continue; // reported with the shapes
        };
        if entries.contains(&entry) {
            problems.error_with_hint(
                item.start(),
                format!("`{}` is imported twice", entry.from),
                "remove one of the two",
            );
        }
        entries.push(entry);
    }
    entries
}

fn entry(node: &Node) -> Option<ImportEntry> {
    let text = |key: &str| node.get(key).and_then(Node::text).map(str::to_owned);
    let from = match node.text() {
        Some(path) => path.to_owned(),
        None => text("from")?,
    };
    let entries = |key: &str| node.get(key).map_or(&[][..], Node::entries);
    let names = entries("map").iter();
    let map = names.filter_map(|(key, value)| Some((key.name.clone(), value.text()?.to_owned())));
    let mut set = Config::new();
    for (key, value) in entries("set") {
        set.set(key.name.clone(), value.value()?);
    }
    let used = text("as")
        .as_deref()
        .map_or(Some(ImportAs::default()), ImportAs::parse)?;
    let rerun = node.get("rerun").map_or(Some(1), Node::whole)?;
    Some(ImportEntry {
        from,
        study_name: text("study_name"),
        metric: text("metric"),
        map: map.collect::<BTreeMap<_, _>>(),
        set,
        used,
        rerun: u32::try_from(rerun).ok()?,
    })
}
