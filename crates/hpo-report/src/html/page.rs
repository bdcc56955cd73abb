//! The page: data, scripts, styles and the plotting library in one file.

use std::fmt::Write as _;

use super::{Source, report, section};

const LIBRARY: &str = include_str!("../../assets/uplot/uPlot.iife.min.js");
const LIBRARY_STYLE: &str = include_str!("../../assets/uplot/uPlot.min.css");
const LICENCE: &str = include_str!("../../assets/uplot/LICENSE");
const STYLE: &str = include_str!("../../assets/page/style.css");
/// Before the sections: helpers. The last of all, `start.js`, draws the sections.
const HELPERS: [&str; 3] = [
    include_str!("../../assets/page/base.js"),
    include_str!("../../assets/page/plot.js"),
    include_str!("../../assets/page/table.js"),
];
const START: &str = include_str!("../../assets/page/start.js");

/// Nothing is fetched, whatever the data says: the browser itself forbids it.
const POLICY: &str =
    "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; img-src data:";

/// The report as one HTML file that needs nothing else.
#[must_use]
pub fn page(source: &Source<'_>) -> String {
    let report = report(source);
    let title = escaped(&format!("{} – hpo report", report.study.name));
    let data = serde_json::to_string(&report).unwrap_or_else(|_| "null".to_owned());
    let mut page = String::with_capacity(data.len() + 200_000);
    let _ = write!(
        page,
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n\
         <meta name=\"generator\" content=\"hpo {version}\">\n\
         <link rel=\"icon\" href=\"data:,\">\n<title>{title}</title>\n\
         <style>\n{LIBRARY_STYLE}\n{STYLE}</style>\n</head>\n<body>\n\
         <noscript>This report is drawn by its own scripts; allow them to see it.</noscript>\n\
         <main id=\"page\"></main>\n",
        version = env!("CARGO_PKG_VERSION"),
    );
    let titles: Vec<(&str, &str)> = section::ALL.iter().map(|s| (s.name, s.title)).collect();
    let titles = serde_json::to_string(&titles).unwrap_or_else(|_| "[]".to_owned());
    for (id, json) in [("titles", &titles), ("data", &data)] {
        let json = safe_in_script(json);
        let _ = writeln!(
            page,
            "<script type=\"application/json\" id=\"{id}\">{json}</script>"
        );
    }
    let _ = writeln!(page, "<script>\n/*\n{LICENCE}*/\n{LIBRARY}\n</script>");
    page.push_str("<script>\n\"use strict\";\n");
    HELPERS.iter().for_each(|script| page.push_str(script));
    section::ALL
        .iter()
        .for_each(|section| page.push_str(section.script));
    page.push_str(START);
    page.push_str("</script>\n</body>\n</html>\n");
    page
}

/// JSON that cannot end the element it stands in, nor begin a comment or another element.
fn safe_in_script(json: &str) -> String {
    let mut safe = String::with_capacity(json.len());
    for c in json.chars() {
        // These stand in JSON only inside of texts, where they can be written as escapes.
        match c {
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => {
                let _ = write!(safe, "\\u{:04x}", u32::from(c));
            }
            _ => safe.push(c),
        }
    }
    safe
}

/// Text that stands for itself in HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_in_the_data_can_leave_its_element() {
        let json = serde_json::to_string("</script><!--\u{2028}&").unwrap();
        let safe = safe_in_script(&json);
        assert!(!safe.contains(['<', '>', '&', '\u{2028}']), "{safe}");
        let back: String = serde_json::from_str(&safe).unwrap();
        assert_eq!(back, "</script><!--\u{2028}&");
        assert_eq!(escaped("<a \"b\">&"), "&lt;a &quot;b&quot;&gt;&amp;");
    }

    #[test]
    fn no_script_of_ours_ends_its_element_early() {
        let scripts = section::ALL.iter().map(|s| s.script);
        for script in scripts.chain(HELPERS).chain([LIBRARY, START, LICENCE]) {
            assert!(!script.to_lowercase().contains("</script"));
            assert!(!script.contains("<!--"));
        }
    }
}
