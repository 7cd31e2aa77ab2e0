//! User and password from a file: two lines, and nobody else may read it.

use std::path::Path;

use mrvpn_profile::{Credentials, ovpn};

use super::reader::{Contents, Reader};
use super::shown;
use crate::failure::Failure;

/// Reads a credentials file; one that others can read is refused.
pub(super) fn read(reader: &mut impl Reader, path: &Path) -> Result<Credentials, Failure> {
    let contents = reader.read(path).map_err(|error| Failure::usage(error.why).at(&shown(path), None))?;
    if contents.open_to_others {
        return Err(open_to_others(path));
    }
    credentials(&contents, path)
}

/// What the service manager hands over under `name`, if it does: only the service can read it, whatever its mode says
/// (it may be there by an access list).
pub(super) fn from_service_manager(
    reader: &mut impl Reader,
    directory: &Path,
    name: &str,
) -> Result<Option<Credentials>, Failure> {
    let path = directory.join(format!("{name}.auth"));
    match reader.read(&path) {
        Ok(contents) => credentials(&contents, &path).map(Some),
        Err(error) if error.missing => Ok(None),
        Err(error) => Err(Failure::usage(error.why).at(&shown(&path), None)),
    }
}

/// A credentials file that others can read, with the line to type.
pub(super) fn open_to_others(path: &Path) -> Failure {
    let shown = shown(path);
    Failure::usage("others can read this file").at(&shown, None).hint(format!("chmod 600 {shown}"))
}

fn credentials(contents: &Contents, path: &Path) -> Result<Credentials, Failure> {
    let read = ovpn::credentials(&contents.bytes);
    read.map_err(|why| {
        Failure::usage(why).at(&shown(path), None).hint("write two lines: user and password, and nothing else")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::reader::Disk;
    use crate::load::scratch::Scratch;

    #[test]
    fn two_lines_are_user_and_password() {
        let scratch = Scratch::new("two-lines");
        let path = scratch.file("good", "ann\r\nsecret word\n", 0o600);
        let read = read(&mut Disk::default(), &path).unwrap();
        assert_eq!((read.user.as_str(), read.password.expose().as_str()), ("ann", "secret word"));
    }

    // proves: T-62
    #[test]
    fn a_file_that_others_can_read_is_refused_with_the_mend() {
        let scratch = Scratch::new("open");
        for mode in [0o640, 0o604, 0o620] {
            let path = scratch.file("open", "ann\nsecret\n", mode);
            let failure = read(&mut Disk::default(), &path).unwrap_err();
            assert!(failure.to_string().contains("chmod 600"), "{failure}");
            assert!(!failure.to_string().contains("secret"), "{failure}");
        }
    }

    #[test]
    fn what_the_service_manager_hands_over_may_be_there_by_an_access_list() {
        let scratch = Scratch::new("service");
        scratch.file("uk.auth", "ann\nsecret\n", 0o440);
        let read = |name| from_service_manager(&mut Disk::default(), scratch.path(), name).unwrap();
        assert_eq!((read("uk").map(|given| given.user), read("fr")), (Some(String::from("ann")), None));
    }
}
