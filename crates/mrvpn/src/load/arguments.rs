//! By what a configuration is read: the command's arguments with every path made absolute and every tunnel named, so that
//! another process with another working directory reads the same.

use std::path::{Path, PathBuf};

use mrvpn_profile::TunnelName;
use serde::{Deserialize, Serialize};

use crate::control::Source;
use crate::failure::Failure;

/// By what a configuration is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Arguments {
    /// The file or the profiles, and the account.
    pub(crate) source: Source,
    /// Where the service manager keeps what it hands to this service (`$CREDENTIALS_DIRECTORY`).
    pub(crate) service_credentials: Option<String>,
}

impl Arguments {
    /// From the command line and the environment. Without a profile it is the file named, else the first of the usual
    /// places.
    pub(crate) fn of(config: Option<&Path>, profiles: &[String], account: Option<&Path>) -> Result<Self, Failure> {
        let config = if profiles.is_empty() { Some(absolute(&config_path(config)?)?) } else { None };
        let source = Source {
            config,
            profiles: named_profiles(profiles, &[])?,
            credentials: account.map(absolute).transpose()?,
            ..Source::default()
        };
        Ok(Self::again(source))
    }

    /// One more tunnel beside those that have the names of `taken`; with a file of user and password of its `own`, else by
    /// the engine's `account`.
    pub(crate) fn one_more(
        profile: &str,
        own: Option<&Path>,
        account: Option<String>,
        taken: &[TunnelName],
    ) -> Result<Self, Failure> {
        let profiles = named_profiles(&[profile.to_owned()], taken)?;
        let name = profiles.iter().filter_map(|named| Some(named.split_once('=')?.0.to_owned()));
        let own = own.map(absolute).transpose()?;
        let accounts = name.zip(own).collect();
        Ok(Self::again(Source { profiles, accounts, credentials: account, ..Source::default() }))
    }

    /// What an engine was started with, to be read again by this process.
    pub(crate) fn again(source: Source) -> Self {
        let directory = std::env::var_os("CREDENTIALS_DIRECTORY").and_then(|directory| directory.into_string().ok());
        Self { source: Source { answered: Vec::new(), ..source }, service_credentials: directory }
    }

    /// Name and file of each profile that was given as a file.
    pub(crate) fn profiles(&self) -> Result<Vec<(TunnelName, PathBuf)>, Failure> {
        let split = |argument: &String| {
            let (name, path) = argument.split_once('=').unwrap_or(("", argument));
            Ok((parsed_name(name)?, PathBuf::from(path)))
        };
        self.source.profiles.iter().map(split).collect()
    }
}

/// `NAME=FILE` for each, the file absolute: names that the user gave stand, the others are made from the files around
/// them and around those of `taken`.
fn named_profiles(arguments: &[String], taken: &[TunnelName]) -> Result<Vec<String>, Failure> {
    let mut names = Vec::new();
    for argument in arguments {
        if let Some((name, _)) = split(argument) {
            let name = parsed_name(name)?;
            if names.contains(&name) || taken.contains(&name) {
                return Err(Failure::usage(format!("two tunnels are named {name}")).hint("give each a name of its own"));
            }
            names.push(name);
        }
    }
    names.extend(taken.iter().cloned());
    let mut named = Vec::new();
    for argument in arguments {
        let (name, path) = match split(argument) {
            Some((name, path)) => (parsed_name(name)?, path),
            None => {
                let name = TunnelName::from_file_name(argument, &names);
                names.push(name.clone());
                (name, argument.as_str())
            }
        };
        named.push(format!("{name}={}", absolute(Path::new(path))?));
    }
    Ok(named)
}

/// `NAME=FILE`; a `/` before the `=` belongs to a file.
fn split(argument: &str) -> Option<(&str, &str)> {
    argument.split_once('=').filter(|(name, _)| !name.contains('/'))
}

fn parsed_name(name: &str) -> Result<TunnelName, Failure> {
    TunnelName::parse(name).map_err(|error| Failure::usage(error.to_string()))
}

fn absolute(path: &Path) -> Result<String, Failure> {
    let shown = path.display().to_string();
    let absolute = std::path::absolute(path).map_err(|error| Failure::usage(error.to_string()).at(&shown, None))?;
    let text = absolute.into_os_string().into_string();
    text.map_err(|_| Failure::usage("the path is not UTF-8").at(&shown, None).hint("rename the file or its directory"))
}

/// The file named, else the first of the usual places.
fn config_path(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(named) = named {
        return Ok(named.to_owned());
    }
    let home = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let home = home.or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".config")));
    let places = [
        Some(PathBuf::from("mrvpn.toml")),
        home.map(|home| home.join("mrvpn/mrvpn.toml")),
        Some(PathBuf::from("/etc/mrvpn/mrvpn.toml")),
    ];
    places.into_iter().flatten().find(|path| path.is_file()).ok_or_else(|| {
        Failure::usage("no profile was named and there is no mrvpn.toml")
            .hint("`mrvpn up uk.ovpn fr.ovpn`, or `mrvpn up -c FILE`")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(arguments: &[&str], taken: &[&str]) -> Result<Vec<String>, Failure> {
        let arguments: Vec<String> = arguments.iter().map(ToString::to_string).collect();
        let taken: Vec<TunnelName> = taken.iter().map(|name| TunnelName::parse(name).unwrap()).collect();
        let named = named_profiles(&arguments, &taken)?;
        Ok(named.iter().map(|named| named.split_once('=').unwrap().0.to_owned()).collect())
    }

    #[test]
    fn a_name_that_the_user_gave_stands_and_files_are_named_around_it() {
        assert_eq!(names(&["/p/uk.ovpn", "uk=/p/a.ovpn", "/q/UK.ovpn"], &[]).unwrap(), ["uk-2", "uk", "uk-3"]);
        assert_eq!(names(&["/p/uk.ovpn"], &["uk"]).unwrap(), ["uk-2"]);
    }

    #[test]
    fn two_tunnels_of_one_name_are_refused() {
        assert!(names(&["uk=a", "uk=b"], &[]).is_err());
        assert!(names(&["uk=a"], &["uk"]).is_err());
        assert!(names(&["direct=a"], &[]).is_err());
    }

    #[test]
    fn an_equals_sign_in_a_directory_is_no_name() {
        assert_eq!(names(&["/p=q/uk.ovpn"], &[]).unwrap(), ["uk"]);
        let named = named_profiles(&[String::from("/p=q/uk.ovpn")], &[]).unwrap();
        let arguments = Arguments::again(Source { profiles: named, ..Source::default() });
        assert_eq!(arguments.profiles().unwrap()[0].1, Path::new("/p=q/uk.ovpn"));
    }

    #[test]
    fn paths_are_absolute() {
        let arguments = Arguments::of(None, &[String::from("uk.ovpn")], Some(Path::new("a.auth"))).unwrap();
        let here = std::env::current_dir().unwrap();
        assert_eq!(arguments.source.profiles, [format!("uk={}", here.join("uk.ovpn").display())]);
        assert_eq!(arguments.source.credentials, Some(here.join("a.auth").display().to_string()));
    }
}
