//! Files into a configuration. The command line reads mrvpn.toml, the profiles and all they name with the caller's own
//! rights; the engine gets contents and no paths (design.md, decision 15).

mod credentials; // user and password from files
pub(crate) mod files; // what a profile names
mod prompt; // user and password from the terminal
mod rules; // rules as written into rules as decided

use std::path::{Path, PathBuf};

use mrvpn_engine::{EngineConfig, TunnelConfig};
use mrvpn_profile::config::{Accept, Config};
use mrvpn_profile::{AuthUserPass, TunnelName, escape, ovpn};

use crate::failure::Failure;
use files::ProfileFiles;

/// A configuration that is ready to run.
pub(crate) struct Loaded {
    /// For the engine.
    pub(crate) config: EngineConfig,
    /// What the user should know about the files.
    pub(crate) notes: Vec<String>,
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

/// Reads what `up` was told to bring up.
pub(crate) fn load(file: Option<&Path>, profiles: &[String], account: Option<&Path>) -> Result<Loaded, Failure> {
    if profiles.is_empty() {
        return from_file(&config_path(file)?, account);
    }
    let mut names: Vec<TunnelName> = Vec::new();
    let mut wanted = Vec::new();
    for argument in profiles {
        let (name, path) = named_profile(argument, &names)?;
        names.push(name.clone());
        wanted.push(Wanted {
            name,
            profile: path,
            credentials: None,
            default: false,
            strict_server: false,
            accept: Vec::new(),
            bypass: Vec::new(),
        });
    }
    tunnels(EngineConfig::new(), wanted, account)
}

/// `NAME=FILE`, or a file that gives its own name.
fn named_profile(argument: &str, taken: &[TunnelName]) -> Result<(TunnelName, PathBuf), Failure> {
    if let Some((name, path)) = argument.split_once('=')
        && !name.contains('/')
    {
        let parsed = TunnelName::parse(name).map_err(|error| Failure::usage(error.to_string()))?;
        if taken.contains(&parsed) {
            return Err(Failure::usage(format!("two tunnels are named {parsed}")).hint("give each a name of its own"));
        }
        return Ok((parsed, PathBuf::from(path)));
    }
    Ok((TunnelName::from_file_name(argument, taken), PathBuf::from(argument)))
}

fn from_file(path: &Path, account: Option<&Path>) -> Result<Loaded, Failure> {
    let shown = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::usage(error.to_string()).at(&shown, None))?;
    let config = mrvpn_profile::config::parse(&text)
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
    let shared = config.engine.credentials.as_ref().map(|file| beside.join(&file.value));
    let mut engine = engine_settings(&config);
    engine.rules = rules::decide(&config);
    engine.config_path = Some(std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()).display().to_string());
    tunnels(engine, wanted, account.or(shared.as_deref()))
}

fn engine_settings(config: &Config) -> EngineConfig {
    let written = &config.engine;
    let mut engine = EngineConfig::new();
    if let Some(mark) = written.mark {
        engine.mark = mark;
    }
    let priority = written.rule_priority.unwrap_or(mrvpn_netplan::scope::RULE_PRIORITY);
    engine.scope = mrvpn_netplan::Scope::new(0, "default", priority, written.interface.as_deref());
    if let Some(limit) = written.establish_limit {
        engine.establish_limit = limit;
    }
    engine.alias_pool = written.alias_pool.map(|pool| pool.network());
    engine
}

/// Reads every profile and gives each tunnel its user and password.
fn tunnels(mut engine: EngineConfig, wanted: Vec<Wanted>, account: Option<&Path>) -> Result<Loaded, Failure> {
    let mut notes = Vec::new();
    let shared = account.map(credentials::read).transpose()?;
    for one in wanted {
        let mut tunnel = read_profile(&one, &mut notes)?;
        let own = one.credentials.as_deref().map(credentials::read).transpose()?;
        tunnel.credentials = match &tunnel.profile.auth_user_pass {
            AuthUserPass::No => None,
            AuthUserPass::Given(given) => own.or_else(|| Some(given.clone())),
            AuthUserPass::Ask => own.or_else(|| shared.clone()),
        };
        engine.tunnels.push(tunnel);
    }
    prompt::fill(&mut engine.tunnels)?;
    Ok(Loaded { config: engine, notes })
}

fn read_profile(wanted: &Wanted, notes: &mut Vec<String>) -> Result<TunnelConfig, Failure> {
    let shown = wanted.profile.display().to_string();
    let text = files::read_regular(&wanted.profile).map_err(|why| {
        Failure::usage(why).at(&shown, None).hint("check the path; a profile is a file that ends in .ovpn")
    })?;
    let mut named = ProfileFiles::beside(&wanted.profile);
    let parsed = ovpn::parse(text.expose(), &mut named)
        .map_err(|error| Failure::usage(error.message.clone()).at(&shown, error.line).hint(error.hint.clone()))?;
    notes.extend(named.notes());
    for ignored in &parsed.judgement.ignored {
        let directive = escape(ignored.directive.as_bytes());
        tracing::info!("{shown}:{}: `{directive}` is ignored: {}", ignored.line, ignored.why);
    }
    Ok(TunnelConfig {
        name: wanted.name.to_string(),
        file: escape(shown.as_bytes()),
        profile: parsed.profile,
        credentials: None,
        default: wanted.default,
        strict_server: wanted.strict_server,
        accept: wanted.accept.clone(),
        bypass: wanted.bypass.clone(),
        warnings: parsed.judgement.warnings.iter().map(ToString::to_string).collect(),
    })
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
