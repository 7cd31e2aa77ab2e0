//! Files that users write or are given: profiles and mrvpn.toml.

use mrvpn_profile::ovpn::{FileWanted, Files, Judgement, parse};
use mrvpn_profile::{Secret, Wrap, limits};

/// Gives each wanted file the bytes that stand behind the profile in the input.
struct Behind<'a>(&'a [u8]);

impl Files for Behind<'_> {
    fn read(&mut self, wanted: &FileWanted) -> Result<Secret<Vec<u8>>, String> {
        assert!(wanted.line > 0 && !wanted.path.is_empty());
        Ok(Secret::new(self.0.to_vec()))
    }
}

/// An `.ovpn` file; what follows the first NUL is the content of every file that it names.
pub fn profile(bytes: &[u8]) {
    let (text, file) = match bytes.iter().position(|byte| *byte == 0) {
        Some(end) => (&bytes[..end], &bytes[end + 1..]),
        None => (bytes, &[][..]),
    };
    match parse(text, &mut Behind(file)) {
        Ok(parsed) => {
            let profile = parsed.profile;
            assert!((1..=limits::REMOTES).contains(&profile.remotes.len()));
            assert!(!profile.data_ciphers.is_empty() && profile.pull.routes.len() <= limits::ROUTES);
            let wraps = profile.remotes.iter().filter_map(|remote| remote.wrap.as_ref()).chain([&profile.wrap]);
            for wrap in wraps {
                if let Wrap::TlsCryptV2 { wrapped, .. } = wrap {
                    assert!((limits::WRAPPED_KEY_MIN..=limits::WRAPPED_KEY_MAX).contains(&wrapped.len()));
                }
            }
            assert!(parsed.judgement.refused.is_empty());
            check(&parsed.judgement);
        }
        Err(error) => {
            assert!(!error.judgement.refused.is_empty() && error.message.is_ascii());
            check(&error.judgement);
        }
    }
}

/// Foreign text is escaped wherever it is shown.
fn check(judgement: &Judgement) {
    let noted = judgement.used.iter().chain(&judgement.ignored).chain(&judgement.refused).chain(&judgement.warnings);
    let texts = noted.flat_map(|noted| [&noted.directive, &noted.why, &noted.hint]);
    texts.for_each(|text| assert!(text.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{text:?}"));
}

/// A mrvpn.toml.
pub fn config(bytes: &[u8]) {
    let Ok(text) = str::from_utf8(bytes) else { return };
    match mrvpn_profile::config::parse(text) {
        Ok(config) => assert!(!config.tunnels.is_empty()),
        Err(error) => assert!(!error.message.is_empty() && error.message.is_ascii()),
    }
}
