//! User and password from a file: two lines, and nobody else may read it.

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mrvpn_profile::{Credentials, Secret};

use super::files::read_regular;
use crate::failure::Failure;

/// Reads a credentials file.
pub(super) fn read(path: &Path) -> Result<Credentials, Failure> {
    let shown = path.display().to_string();
    let about = std::fs::metadata(path).map_err(|error| Failure::usage(error.to_string()).at(&shown, None))?;
    if about.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage("others can read this file").at(&shown, None).hint(format!("chmod 600 {shown}")));
    }
    let bytes = read_regular(path).map_err(|why| Failure::usage(why).at(&shown, None))?;
    let two = || Failure::usage("has no two lines, user and password").at(&shown, None);
    let text = std::str::from_utf8(bytes.expose()).map_err(|_| Failure::usage("is not UTF-8").at(&shown, None))?;
    let mut lines = text.lines();
    let (user, password) = (lines.next().ok_or_else(two)?, lines.next().ok_or_else(two)?);
    if user.is_empty() || password.is_empty() {
        return Err(two());
    }
    Ok(Credentials { user: user.to_owned(), password: Secret::new(password.to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn file(name: &str, text: &str, mode: u32) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("mrvpn-credentials-{}-{name}", std::process::id()));
        let mut file = std::fs::File::create(&path).unwrap();
        file.write_all(text.as_bytes()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path
    }

    #[test]
    fn two_lines_are_user_and_password() {
        let path = file("good", "ann\r\nsecret word\n", 0o600);
        let read = read(&path).unwrap();
        assert_eq!((read.user.as_str(), read.password.expose().as_str()), ("ann", "secret word"));
        std::fs::remove_file(path).unwrap();
    }

    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_mend() {
        let path = file("open", "ann\nsecret\n", 0o644);
        let failure = read(&path).unwrap_err();
        assert!(failure.to_string().contains("chmod 600"), "{failure}");
        std::fs::remove_file(path).unwrap();
    }
}
