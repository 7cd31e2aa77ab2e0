//! Files into a configuration: mrvpn.toml, the profiles and all they name. It is the same work twice. A command reads from
//! the disk with the rights of its caller, where a broken file is an error with its line; the engine reads the same out of
//! the bundle that the command has sent, and comes to the very same configuration (design.md, decision 15).

pub(crate) mod arguments; // by what a configuration is read
mod credentials; // user and password from files
pub(crate) mod files; // what a profile names
pub(crate) mod prompt; // user and password from the terminal
pub(crate) mod reader; // from the disk, or out of a bundle
pub(crate) mod rules; // rules as written into rules as decided
#[cfg(test)]
pub(crate) mod scratch; // directories for tests

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use mrvpn_engine::{EngineConfig, TunnelConfig};
use mrvpn_netplan::Scope;
use mrvpn_profile::config::{Accept, Config};
use mrvpn_profile::{AuthUserPass, Credentials, TunnelName, escape, ovpn};

use crate::bundle::Bundle;
use crate::failure::Failure;
use arguments::Arguments;
use files::ProfileFiles;
use reader::{Disk, Reader, Recorded};

/// A configuration that is ready to run, but for answers of the terminal.
#[derive(Debug, PartialEq)]
pub(crate) struct Loaded {
    /// For the engine.
    pub(crate) config: EngineConfig,
    /// What the user should know about the files.
    pub(crate) notes: Vec<String>,
    /// Tunnels whose user and password the service manager has handed over.
    pub(crate) from_service_manager: Vec<String>,
}

/// What was read from the disk, to be sent to an engine.
pub(crate) struct Gathered {
    /// The configuration.
    pub(crate) loaded: Loaded,
    arguments: Arguments,
    files: Recorded,
}

/// One tunnel to be loaded.
struct Wanted {
    name: TunnelName,
    profile: PathBuf,
    credentials: Option<PathBuf>,
    default: bool,
    strict_server: bool,
    accept: Vec<Accept>,
    bypass: Vec<ipnet::IpNet>,
}

/// Reads with the rights of this process.
pub(crate) fn gather(arguments: Arguments) -> Result<Gathered, Failure> {
    let mut disk = Disk::default();
    let loaded = load(&arguments, &mut disk)?;
    Ok(Gathered { loaded, arguments, files: disk.into_recorded() })
}

impl Gathered {
    /// Asks on the terminal for what no file has, but for what was `answered` to the engine before.
    pub(crate) fn ask(self, answered: &[String]) -> Result<(Loaded, Bundle), Failure> {
        let answers = prompt::ask(&self.loaded.config.tunnels, answered)?;
        Ok((self.loaded, Bundle { arguments: self.arguments, files: self.files, answers }))
    }
}

/// Reads all that the arguments name. The same contents make the same configuration.
pub(crate) fn load(arguments: &Arguments, reader: &mut impl Reader) -> Result<Loaded, Failure> {
    let account = arguments.source.credentials.as_deref().map(Path::new);
    let (engine, wanted, shared) = match &arguments.source.config {
        Some(file) => from_file(Path::new(file), reader)?,
        None => (EngineConfig::new(), of_profiles(arguments)?, None),
    };
    let accounts = Accounts {
        shared: account.or(shared.as_deref()).map(|path| credentials::read(reader, path)).transpose()?,
        service: arguments.service_credentials.as_ref().map(PathBuf::from),
    };
    tunnels(engine, wanted, &accounts, reader)
}

/// Gives tunnels what was answered for them.
pub(crate) fn fill(tunnels: &mut [TunnelConfig], answers: &BTreeMap<String, Credentials>) {
    for tunnel in tunnels.iter_mut().filter(|tunnel| prompt::is_missing(tunnel)) {
        tunnel.credentials = answers.get(&tunnel.name).cloned();
    }
}

/// `[engine] credentials` of a file, absolute; `None` where it has none or cannot be read.
pub(crate) fn account_of(config: &Path) -> Option<PathBuf> {
    from_file(config, &mut Disk::default()).ok().and_then(|(_, _, account)| account)
}

/// The place that `wanted` asks for, in another slot and by the name of an instance.
pub(crate) fn scope_at(slot: u8, instance: &str, wanted: &EngineConfig) -> Scope {
    Scope::new(slot, instance, wanted.scope.rule_priority, wanted.interface.as_deref())
}

/// A path for people: relative to the working directory where it lies below.
pub(crate) fn shown(path: &Path) -> String {
    let here = std::env::current_dir().ok().filter(|here| here.parent().is_some());
    let below = here.as_ref().and_then(|here| path.strip_prefix(here).ok());
    below.unwrap_or(path).display().to_string()
}

/// Tunnels of profiles that were given as files.
fn of_profiles(arguments: &Arguments) -> Result<Vec<Wanted>, Failure> {
    let account = |name: &TunnelName| arguments.source.accounts.get(&name.to_string()).map(PathBuf::from);
    let named = arguments.profiles()?.into_iter();
    Ok(named.map(|(name, profile)| Wanted::of_profile(account(&name), name, profile)).collect())
}

impl Wanted {
    fn of_profile(credentials: Option<PathBuf>, name: TunnelName, profile: PathBuf) -> Self {
        Self {
            name,
            profile,
            credentials,
            default: false,
            strict_server: false,
            accept: Vec::new(),
            bypass: Vec::new(),
        }
    }
}

/// User and password for tunnels that have none of their own.
struct Accounts {
    shared: Option<Credentials>,
    service: Option<PathBuf>,
}

/// Settings, tunnels and account of an mrvpn.toml.
fn from_file(path: &Path, reader: &mut impl Reader) -> Result<(EngineConfig, Vec<Wanted>, Option<PathBuf>), Failure> {
    let shown = shown(path);
    let contents = reader.read(path).map_err(|error| Failure::usage(error.why).at(&shown, None))?;
    let text = str::from_utf8(contents.bytes.expose())
        .map_err(|_| Failure::usage("it is not UTF-8 text").at(&shown, None).hint("save it as UTF-8"))?;
    let config = mrvpn_profile::config::parse(text)
        .map_err(|error| Failure::usage(error.message).at(&shown, error.line).hint(error.hint))?;
    let beside = path.parent().unwrap_or_else(|| Path::new("."));
    let wanted = config.tunnels.iter().map(|tunnel| Wanted {
        name: tunnel.name.clone(),
        profile: beside.join(&tunnel.profile.value),
        credentials: tunnel.credentials.as_ref().map(|file| beside.join(&file.value)),
        default: tunnel.default,
        strict_server: tunnel.strict_server,
        accept: tunnel.accept.clone(),
        bypass: tunnel.bypass.clone(),
    });
    let wanted: Vec<Wanted> = wanted.collect();
    let account = config.engine.credentials.as_ref().map(|file| beside.join(&file.value));
    let mut engine = engine_settings(&config);
    engine.rules = rules::decide(&config).map_err(|many| Failure::usage(many.why).at(&shown, None).hint(many.hint))?;
    engine.config_path = Some(path.display().to_string());
    Ok((engine, wanted, account))
}

fn engine_settings(config: &Config) -> EngineConfig {
    let written = &config.engine;
    let mut engine = EngineConfig::new();
    if let Some(mark) = written.mark {
        engine.mark = mark;
    }
    let priority = written.rule_priority.unwrap_or(mrvpn_netplan::scope::RULE_PRIORITY);
    engine.scope = Scope::new(0, "default", priority, written.interface.as_deref());
    engine.interface.clone_from(&written.interface);
    if let Some(limit) = written.establish_limit {
        engine.establish_limit = limit;
    }
    engine.alias_pool = written.alias_pool.map(|pool| pool.network());
    engine
}

/// Reads every profile and gives each tunnel its user and password.
fn tunnels(
    mut engine: EngineConfig,
    wanted: Vec<Wanted>,
    accounts: &Accounts,
    reader: &mut impl Reader,
) -> Result<Loaded, Failure> {
    let mut loaded = Loaded { config: EngineConfig::new(), notes: Vec::new(), from_service_manager: Vec::new() };
    for one in wanted {
        let mut tunnel = read_profile(&one, &mut loaded.notes, reader)?;
        let own = one.credentials.as_deref().map(|path| credentials::read(reader, path)).transpose()?;
        tunnel.credentials = match &tunnel.profile.auth_user_pass {
            AuthUserPass::No => {
                loaded.notes.extend(own.map(|_| format!("{}: its profile asks for no user and password", one.name)));
                None
            }
            AuthUserPass::Given(given) => own.or_else(|| Some(given.clone())),
            AuthUserPass::Ask => own.or_else(|| accounts.shared.clone()),
        };
        if let Some(service) = accounts.service.as_deref().filter(|_| prompt::is_missing(&tunnel)) {
            tunnel.credentials = credentials::from_service_manager(reader, service, &tunnel.name)?;
            loaded.from_service_manager.extend(tunnel.credentials.as_ref().map(|_| tunnel.name.clone()));
        }
        engine.tunnels.push(tunnel);
    }
    Ok(Loaded { config: engine, ..loaded })
}

fn read_profile(wanted: &Wanted, notes: &mut Vec<String>, reader: &mut impl Reader) -> Result<TunnelConfig, Failure> {
    let shown = shown(&wanted.profile);
    let contents = reader.read(&wanted.profile).map_err(|error| {
        Failure::usage(error.why).at(&shown, None).hint("check the path; a profile is a file that ends in .ovpn")
    })?;
    let mut named = ProfileFiles::through(&wanted.profile, &mut *reader);
    let parsed = ovpn::parse(contents.bytes.expose(), &mut named)
        .map_err(|error| Failure::usage(error.message.clone()).at(&shown, error.line).hint(error.hint.clone()))?;
    if let Some(open) = named.open_credentials() {
        return Err(credentials::open_to_others(open));
    }
    notes.extend(named.notes());
    if contents.open_to_others && files::holds_a_secret(contents.bytes.expose()) {
        notes.push(format!("{shown}: others can read this file, and a key or a password is inside: chmod 600 {shown}"));
    }
    for ignored in &parsed.judgement.ignored {
        let directive = escape(ignored.directive.as_bytes());
        tracing::info!(tunnel = %wanted.name, "{shown}:{}: `{directive}` is ignored: {}", ignored.line, ignored.why);
    }
    Ok(TunnelConfig {
        name: wanted.name.to_string(),
        file: escape(wanted.profile.display().to_string().as_bytes()),
        profile: parsed.profile,
        credentials: None,
        default: wanted.default,
        strict_server: wanted.strict_server,
        accept: wanted.accept.clone(),
        bypass: wanted.bypass.clone(),
        warnings: parsed.judgement.warnings.iter().map(ToString::to_string).collect(),
    })
}

#[cfg(test)]
mod tests;
