use super::*;
use crate::control::Source;

fn contents(text: &str) -> Outcome {
    Ok(Contents { bytes: Secret::new(text.as_bytes().to_vec()), open_to_others: false })
}

fn given(user: &str, password: &str) -> Credentials {
    Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) }
}

fn bundle(files: impl IntoIterator<Item = (String, Outcome)>) -> Bundle {
    let source = Source { profiles: vec![String::from("uk=/p/uk.ovpn")], ..Source::default() };
    Bundle {
        arguments: Arguments { source, service_credentials: None },
        files: Recorded(files.into_iter().map(|(path, outcome)| (PathBuf::from(path), outcome)).collect()),
        answers: BTreeMap::from([(String::from("uk"), given("ann", "a\ncanary\0word"))]),
    }
}

fn small() -> Bundle {
    let missing = Unreadable { why: String::from("not there"), missing: true };
    bundle([
        (String::from("/p/uk.ovpn"), contents("client\n")),
        (String::from("/p/ca.crt"), Err(missing)),
        (String::from("/p/empty"), contents("")),
    ])
}

#[test]
fn what_was_encoded_is_decoded() {
    let bundle = small();
    assert_eq!(Bundle::decode(&bundle.encode().unwrap()).unwrap(), bundle);
}

#[test]
fn every_cut_and_every_addition_is_refused() {
    let bytes = small().encode().unwrap();
    for length in 0..bytes.len() {
        assert!(Bundle::decode(&bytes[..length]).is_err(), "cut to {length}");
    }
    let mut longer = bytes.to_vec();
    longer.push(b'x');
    assert!(Bundle::decode(&longer).is_err());
}

#[test]
fn no_byte_that_is_changed_makes_it_stop_in_disorder() {
    let bytes = small().encode().unwrap();
    for place in 0..bytes.len() {
        for value in [0, b'"', b'9', b'\n', 0xff] {
            let mut changed = bytes.to_vec();
            changed[place] = value;
            let _ = Bundle::decode(&changed);
        }
    }
}

#[test]
fn another_version_is_refused_with_what_to_do() {
    let bytes = small().encode().unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap().replacen("\"version\":1", "\"version\":2", 1);
    let failure = Bundle::decode(text.as_bytes()).unwrap_err();
    assert!(failure.to_string().contains("the same version"), "{failure}");
}

// proves: T-62
#[test]
fn a_password_is_neither_in_its_debug_form_nor_in_an_error() {
    let bundle = small();
    assert!(!format!("{bundle:?}").contains("canary"));
    let bytes = bundle.encode().unwrap();
    let failure = Bundle::decode(&bytes[..bytes.len() - 1]).unwrap_err();
    assert!(!format!("{failure:?}").contains("canary"));
}

#[test]
fn so_many_files_are_taken_and_no_more() {
    let with = |count: usize| {
        let absent = || Err(Unreadable { why: String::new(), missing: true });
        bundle((0..count).map(|number| (format!("/{number}"), absent()))).encode()
    };
    assert!(with(limits::FILES - 1).is_ok());
    let full = with(limits::FILES).unwrap();
    assert!(Bundle::decode(&full).is_ok());
    assert!(with(limits::FILES + 1).is_err());
}

#[test]
fn a_bundle_is_as_long_as_the_control_socket_takes_it_and_no_longer() {
    let mebibyte = "x".repeat(1024 * 1024);
    let with = |last: usize| {
        let files = (0..63).map(|number| (format!("/{number:02}"), contents(&mebibyte)));
        let two = [(String::from("/half"), &mebibyte[..500_000]), (String::from("/last"), &mebibyte[..last])];
        bundle(files.chain(two.map(|(path, text)| (path, contents(text))))).encode()
    };
    // The last file's length has as many digits in each case, so that the first line is equally long.
    let rest = with(500_000).unwrap().len() - 500_000;
    let exact = limits::BUNDLE - rest;
    assert_eq!(with(exact - 1).unwrap().len(), limits::BUNDLE - 1);
    let full = with(exact).unwrap();
    assert_eq!(full.len(), limits::BUNDLE);
    assert!(Bundle::decode(&full).is_ok());
    assert!(with(exact + 1).is_err());
    let mut longer = full.to_vec();
    longer.push(0);
    assert!(Bundle::decode(&longer).is_err());
}
