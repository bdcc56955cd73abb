//! Posts messages to a web hook: a few tries, each of limited time. Addresses hold secrets, so
//! nothing here says more of one than its host.

use std::time::{Duration, Instant};

use super::closing::Closing;

/// How long one try may take, from looking up the name to the answer.
const LONGEST: Duration = Duration::from_secs(10);
/// How often it is tried.
const TRIES: u32 = 3;
/// How long to wait before the second try; twice that before the third.
const FIRST_PAUSE: Duration = Duration::from_secs(1);

/// What became of one try.
enum Trial {
    Done(u16),
    /// Worth another try.
    Again(String),
    Never(String),
}

/// Posts `json`; gives back what the server said, or why it could not be told.
pub(super) fn post(address: &str, json: &str, closing: &Closing) -> Result<String, String> {
    let mut pause = FIRST_PAUSE;
    let mut why = String::new();
    for tries in 1..=TRIES {
        if tries > 1 {
            closing.pause(pause);
            pause *= 2;
        }
        let Some(limit) = closing.left(LONGEST) else {
            let end = "`hpo` has come to its end";
            return Err(if why.is_empty() {
                end.to_owned()
            } else {
                format!("{why}; tried {} times, then {end}", tries - 1)
            });
        };
        match post_once(address, json, limit) {
            Trial::Done(status) => return Ok(format!("answered {status}")),
            Trial::Never(why) => return Err(why),
            Trial::Again(error) => why = error,
        }
    }
    Err(format!("{why}; tried {TRIES} times"))
}

fn post_once(address: &str, json: &str, limit: Duration) -> Trial {
    let start = Instant::now();
    let config = ureq::Agent::config_builder()
        .timeout_global(Some(limit))
        .http_status_as_error(false)
        // Whoever has moved is to be told the new address by its owner, not by an answer.
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent(concat!("hpo/", env!("CARGO_PKG_VERSION")));
    // No proxy can know what this machine's own name is to it.
    let config = if is_here(address) {
        config.proxy(None)
    } else {
        config
    };
    let answer = config
        .build()
        .new_agent()
        .post(address)
        .header("content-type", "application/json")
        .send(json);
    match answer.map(|answer| answer.status().as_u16()) {
        Ok(status @ 200..=299) => Trial::Done(status),
        Ok(status @ (408 | 429 | 500..=599)) => {
            Trial::Again(format!("the server answered {status}"))
        }
        Ok(status @ 300..=399) => Trial::Never(format!(
            "the server answered {status}: it is at another address now"
        )),
        Ok(status) => Trial::Never(format!("the server answered {status}")),
        Err(error) => explain(&error, start.elapsed()),
    }
}

/// An error in words of ours: those of the library may hold the address.
fn explain(error: &ureq::Error, after: Duration) -> Trial {
    use ureq::Error;
    match error {
        Error::Timeout(_) => Trial::Again(format!("no answer within {:.1} s", after.as_secs_f64())),
        Error::Io(error) => Trial::Again(error.to_string()),
        Error::ConnectionFailed => Trial::Again("there is no connection".to_owned()),
        Error::HostNotFound => Trial::Again("there is no such host".to_owned()),
        Error::Protocol(_) => Trial::Again("the answer is not HTTP".to_owned()),
        Error::Tls(why) => Trial::Never(format!("no secure connection: {why}")),
        Error::Rustls(why) => Trial::Never(format!("no secure connection: {why}")),
        Error::RedirectFailed | Error::TooManyRedirects => {
            Trial::Never("the server is at another address now".to_owned())
        }
        Error::InvalidProxyUrl => {
            Trial::Never("the address of the proxy in the environment is none".to_owned())
        }
        _ => Trial::Never("the address cannot be posted to".to_owned()),
    }
}

/// What may be shown of an address: `https://hooks.example.com/…`.
pub(super) fn shown(address: &str) -> String {
    let Some((scheme, rest)) = address.split_once("://") else {
        return "an address".to_owned();
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    format!("{scheme}://{host}/…")
}

fn is_here(address: &str) -> bool {
    let shown = shown(address);
    let host = shown.split_once("://").map_or("", |(_, host)| host);
    ["localhost", "127.0.0.1", "[::1]"].iter().any(|here| {
        let rest = host.strip_prefix(here);
        rest.is_some_and(|rest| rest.starts_with([':', '/']))
    })
}

#[cfg(test)]
mod tests {
    use std::io::{Read as _, Write as _};
    use std::net::{TcpListener, TcpStream};
    use std::thread::{self, JoinHandle};

    use super::*;

    /// A server on this machine that treats one connection after the other as it is told, and gives
    /// back what was asked of it.
    fn server(answers: Vec<&'static str>) -> (String, JoinHandle<Vec<String>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!(
            "http://{}/hook/s3cret?token=t0p",
            listener.local_addr().unwrap()
        );
        let serve = move || {
            let answer = |answer: &str| {
                let (mut stream, _) = listener.accept().unwrap();
                let request = read_request(&mut stream);
                stream.write_all(answer.as_bytes()).unwrap();
                request
            };
            answers.into_iter().map(answer).collect()
        };
        (address, thread::spawn(serve))
    }

    fn read_request(stream: &mut TcpStream) -> String {
        let mut bytes = Vec::new();
        let mut buffer = [0; 1024];
        loop {
            let text = String::from_utf8_lossy(&bytes).into_owned();
            if let Some((head, body)) = text.split_once("\r\n\r\n") {
                let length = head
                    .to_ascii_lowercase()
                    .lines()
                    .find_map(|l| l.strip_prefix("content-length: ")?.parse().ok());
                if body.len() >= length.unwrap_or(0) {
                    return text;
                }
            }
            let count = stream.read(&mut buffer).unwrap();
            assert!(count > 0, "{text}");
            bytes.extend_from_slice(&buffer[..count]);
        }
    }

    const FINE: &str = "HTTP/1.1 204 No Content\r\n\r\n";
    const SICK: &str = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const WRONG: &str = "HTTP/1.1 404 No\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    const MOVED: &str =
        "HTTP/1.1 302 There\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n";

    #[test]
    fn a_server_gets_json_once() {
        let (address, served) = server(vec![FINE]);
        let open = Closing::default();
        assert_eq!(
            post(&address, r#"{"a": 1}"#, &open),
            Ok("answered 204".to_owned())
        );
        let request = served.join().unwrap().remove(0).to_ascii_lowercase();
        assert!(
            request.starts_with("post /hook/s3cret?token=t0p http/1.1\r\n"),
            "{request}"
        );
        assert!(
            request.contains("content-type: application/json\r\n"),
            "{request}"
        );
        assert!(request.ends_with("\r\n\r\n{\"a\": 1}"), "{request}");
    }

    #[test]
    fn a_sick_server_is_tried_again_and_one_that_says_no_is_not() {
        // With the end of hpo begun, nothing is waited for between tries.
        let soon = Closing::default();
        soon.begin(Duration::from_secs(60));
        let (address, served) = server(vec![SICK, SICK, FINE]);
        assert_eq!(post(&address, "{}", &soon), Ok("answered 204".to_owned()));
        assert_eq!(served.join().unwrap().len(), 3);
        let (address, served) = server(vec![SICK, SICK, SICK]);
        let error = post(&address, "{}", &soon).unwrap_err();
        assert_eq!(error, "the server answered 500; tried 3 times");
        assert_eq!(served.join().unwrap().len(), 3);
        for (answer, word) in [(WRONG, "answered 404"), (MOVED, "another address")] {
            let (address, served) = server(vec![answer]);
            let error = post(&address, "{}", &soon).unwrap_err();
            assert!(error.contains(word), "{error}");
            served.join().unwrap();
        }
        let (address, served) = server(vec!["rubbish\r\n\r\n", FINE]);
        assert!(post(&address, "{}", &soon).is_ok());
        served.join().unwrap();
    }

    #[test]
    fn whoever_refuses_or_hangs_is_given_up_in_time() {
        let soon = Closing::default();
        soon.begin(Duration::from_secs(60));
        let gone = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/s3cret", gone.local_addr().unwrap());
        drop(gone);
        let error = post(&address, "{}", &soon).unwrap_err();
        assert!(error.contains("tried 3 times"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        // It takes connections, and never says a word.
        let hanging = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/s3cret", hanging.local_addr().unwrap());
        let soon = Closing::default();
        soon.begin(Duration::from_millis(300));
        let error = post(&address, "{}", &soon).unwrap_err();
        assert!(error.starts_with("no answer within"), "{error}");
        assert!(!error.contains("s3cret"), "{error}");
        for wrong in ["", "nonsense", "http://", "ftp://127.0.0.1/s3cret"] {
            let error = post(wrong, "{}", &Closing::default()).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn only_the_host_of_an_address_is_shown() {
        for (address, words) in [
            (
                "https://hooks.example.com/s/T0/x",
                "https://hooks.example.com/…",
            ),
            (
                "https://me:pw@example.com:8443?k=v",
                "https://example.com:8443/…",
            ),
            ("nonsense", "an address"),
        ] {
            assert_eq!(shown(address), words);
        }
        assert!(is_here("http://127.0.0.1:80/x") && is_here("http://localhost/x"));
        assert!(!is_here("http://localhost.example.com/") && !is_here("http://example.com/"));
    }
}
