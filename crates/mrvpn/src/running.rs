//! What an engine runs now, as far as commands change it: `reload`, `tunnel add` and `tunnel remove` each compose a whole
//! configuration, and the engine takes it whole or not at all. One change at a time. It reads no file: a change comes as a
//! [`Bundle`] from a caller that has read with rights of its own. Who may ask is judged before, by the control server.

use std::collections::BTreeMap;
use std::sync::Arc;

use mrvpn_engine::{Command, EngineConfig, Refused, Reloaded, TunnelConfig};
use mrvpn_profile::Credentials;
use mrvpn_router::{Rule, Target, TunnelId};
use tokio::sync::{Mutex, mpsc, oneshot};
use zeroize::Zeroizing;

use crate::bundle::Bundle;
use crate::control::{ReloadedShown, Source};
use crate::failure::Failure;
use crate::load::arguments::Arguments;
use crate::load::{self, Loaded};

/// Not done, and nothing has changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotDone {
    /// Why.
    pub(crate) why: String,
    /// What to do.
    pub(crate) hint: Option<String>,
}

/// What runs, for those who change it.
///
/// The control server holds one in an `Arc` and calls, once it has judged the caller: [`Running::source`] for
/// `Request::Source`, [`Running::reload`] with the bundle's bytes for `Request::Reload`, [`Running::add`] for
/// `Request::TunnelAdd`, [`Running::remove`] for `Request::TunnelRemove`. `tunnel start|stop|restart` need nothing of it:
/// they are `Command::Tunnel`. Sentences that come back are whole and for the user.
///
/// A change that was begun is carried to its end, whether or not its caller waits for it: what the engine runs and what is
/// known of it here stay the same.
pub(crate) struct Running {
    changes: Arc<Changes>,
}

/// One change after another.
struct Changes {
    commands: mpsc::Sender<Command>,
    now: Mutex<Now>,
}

/// A configuration, and by what the same is read again.
#[derive(Clone, Debug)]
pub(crate) struct Now {
    /// What the engine runs.
    pub(crate) config: EngineConfig,
    /// By what it was read.
    pub(crate) arguments: Arguments,
    /// User and password, by tunnel, that no file has: typed at a prompt, or from the service manager.
    pub(crate) answers: BTreeMap<String, Credentials>,
    /// Name of the engine's instance.
    pub(crate) instance: String,
}

impl Running {
    /// For an engine that hears `commands` and was started with `now`.
    pub(crate) fn new(commands: mpsc::Sender<Command>, now: Now) -> Self {
        Self { changes: Arc::new(Changes { commands, now: Mutex::new(now) }) }
    }

    /// By what the configuration was read.
    pub(crate) async fn source(&self) -> Source {
        let now = self.changes.now.lock().await;
        Source { answered: now.answers.keys().cloned().collect(), ..now.arguments.source.clone() }
    }

    /// Runs what the bundle says; `dry_run` says what would change and changes nothing.
    pub(crate) async fn reload(&self, bundle: Zeroizing<Vec<u8>>, dry_run: bool) -> Result<ReloadedShown, NotDone> {
        let changes = Arc::clone(&self.changes);
        to_its_end(async move { changes.reload(bundle, dry_run).await }).await
    }

    /// Adds the only tunnel of the bundle behind those that run.
    pub(crate) async fn add(&self, bundle: Zeroizing<Vec<u8>>) -> Result<String, NotDone> {
        let changes = Arc::clone(&self.changes);
        to_its_end(async move { changes.add(bundle).await }).await
    }

    /// Takes a tunnel out of what runs.
    pub(crate) async fn remove(&self, name: &str) -> Result<String, NotDone> {
        let (changes, name) = (Arc::clone(&self.changes), name.to_owned());
        to_its_end(async move { changes.remove(&name).await }).await
    }
}

/// Goes on even when whoever waits gives up.
async fn to_its_end<T: Send + 'static>(
    change: impl Future<Output = Result<T, NotDone>> + Send + 'static,
) -> Result<T, NotDone> {
    tokio::spawn(change).await.unwrap_or_else(|_| Err(ending()))
}

impl Changes {
    async fn reload(&self, bundle: Zeroizing<Vec<u8>>, dry_run: bool) -> Result<ReloadedShown, NotDone> {
        let (arguments, loaded, answers) = replayed(bundle).await?;
        let mut now = self.now.lock().await;
        let next = now.followed_by(arguments, loaded, answers);
        let reloaded = self.send(next.config.clone(), dry_run).await?;
        if !dry_run {
            *now = next;
        }
        Ok(shown(&reloaded))
    }

    async fn add(&self, bundle: Zeroizing<Vec<u8>>) -> Result<String, NotDone> {
        let (arguments, loaded, answers) = replayed(bundle).await?;
        let mut now = self.now.lock().await;
        let next = now.with(&arguments, loaded, answers)?;
        self.send(next.config.clone(), false).await?;
        let sentence = added_sentence(&next);
        *now = next;
        Ok(sentence)
    }

    async fn remove(&self, name: &str) -> Result<String, NotDone> {
        let mut now = self.now.lock().await;
        let next = now.without(name)?;
        self.send(next.config.clone(), false).await?;
        *now = next;
        Ok(removed_sentence(name, &now.arguments.source))
    }

    async fn send(&self, config: EngineConfig, dry_run: bool) -> Result<Reloaded, NotDone> {
        let (answer, answered) = oneshot::channel();
        let command = Command::Reload { config: Box::new(config), dry_run, answer };
        self.commands.send(command).await.map_err(|_| ending())?;
        answered.await.map_err(|_| ending())?.map_err(NotDone::from)
    }
}

/// Reads a bundle on a thread of its own: the sessions' task must not wait for a thousand profiles.
async fn replayed(bytes: Zeroizing<Vec<u8>>) -> Result<(Arguments, Loaded, BTreeMap<String, Credentials>), NotDone> {
    let read = tokio::task::spawn_blocking(move || {
        let mut bundle = Bundle::decode(&bytes)?;
        let loaded = load::load(&bundle.arguments, &mut bundle.files)?;
        Ok((bundle.arguments, loaded, bundle.answers))
    });
    let read: Result<_, Failure> = read.await.map_err(|_| NotDone::new("the files could not be read"))?;
    read.map_err(|failure| NotDone::from(&failure))
}

impl Now {
    /// What runs once `loaded` has taken this one's place.
    fn followed_by(&self, arguments: Arguments, loaded: Loaded, answers: BTreeMap<String, Credentials>) -> Self {
        let mut next = Self::new(&self.instance, arguments, loaded, answers);
        // The place stays for the whole run; where the file says another, the engine says that it takes effect later.
        next.config.scope = load::scope_at(self.config.scope.slot, &self.instance, &next.config);
        next.config.warnings.clone_from(&self.config.warnings);
        for tunnel in next.config.tunnels.iter_mut().filter(|tunnel| load::prompt::is_missing(tunnel)) {
            if let Some(given) = self.answer_for(tunnel) {
                next.answers.insert(tunnel.name.clone(), given.clone());
                tunnel.credentials = Some(given);
            }
        }
        next
    }

    /// What was loaded, with what was answered filled in.
    pub(crate) fn new(
        instance: &str,
        arguments: Arguments,
        loaded: Loaded,
        answers: BTreeMap<String, Credentials>,
    ) -> Self {
        let Loaded { mut config, from_service_manager, notes: _ } = loaded;
        load::fill(&mut config.tunnels, &answers);
        let lasting =
            |tunnel: &&TunnelConfig| answers.contains_key(&tunnel.name) || from_service_manager.contains(&tunnel.name);
        let kept = |tunnel: &TunnelConfig| Some((tunnel.name.clone(), tunnel.credentials.clone()?));
        let answers = config.tunnels.iter().filter(lasting).filter_map(kept).collect();
        Self { config, arguments, answers, instance: instance.to_owned() }
    }

    /// What was answered for a tunnel of this name, where it still is of the same account: nobody learns by a reload a
    /// password that another has typed.
    fn answer_for(&self, tunnel: &TunnelConfig) -> Option<Credentials> {
        let before = self.config.tunnels.iter().find(|before| before.name == tunnel.name)?;
        let same = load::prompt::is_one_account(before, tunnel);
        self.answers.get(&tunnel.name).filter(|_| same).cloned()
    }

    fn with(
        &self,
        arguments: &Arguments,
        loaded: Loaded,
        answers: BTreeMap<String, Credentials>,
    ) -> Result<Self, NotDone> {
        let added = Self::new(&self.instance, arguments.clone(), loaded, answers);
        let mut next = self.clone();
        for tunnel in added.config.tunnels {
            if next.config.tunnels.iter().any(|other| other.name == tunnel.name) {
                return Err(NotDone::new(&format!("a tunnel is called {} already", tunnel.name))
                    .hint("name it: `mrvpn tunnel add NAME=PROFILE`"));
            }
            next.config.tunnels.push(tunnel);
        }
        next.answers.extend(added.answers);
        if next.arguments.source.config.is_none() {
            next.arguments.source.profiles.extend(arguments.source.profiles.iter().cloned());
            next.arguments.source.accounts.extend(arguments.source.accounts.clone());
        }
        Ok(next)
    }

    fn without(&self, name: &str) -> Result<Self, NotDone> {
        let names = || self.config.tunnels.iter().map(|tunnel| tunnel.name.as_str()).collect::<Vec<_>>().join(", ");
        let Some(place) = self.config.tunnels.iter().position(|tunnel| tunnel.name == name) else {
            let asked = mrvpn_profile::escape(name.as_bytes());
            return Err(NotDone::new(&format!("no tunnel is called {asked}")).hint(&format!("there are: {}", names())));
        };
        if let Some((at, rule)) = self.config.rules.iter().enumerate().find(|(_, rule)| names_place(rule, place)) {
            let named = rule.name.as_ref().map_or_else(|| format!("rule {}", at + 1), |name| format!("rule `{name}`"));
            return Err(NotDone::new(&format!("{named} sends traffic through {name}"))
                .hint("remove that rule from the file and `mrvpn reload`, or `mrvpn tunnel stop` it"));
        }
        if self.config.tunnels.len() == 1 {
            return Err(NotDone::new(&format!("{name} is the only tunnel")).hint("`mrvpn down` ends everything"));
        }
        let mut next = self.clone();
        next.config.tunnels.remove(place);
        next.config.rules.iter_mut().for_each(|rule| close_gap(rule, place));
        next.answers.remove(name);
        next.arguments.source.accounts.remove(name);
        next.arguments.source.profiles.retain(|profile| !profile.starts_with(&format!("{name}=")));
        Ok(next)
    }
}

fn names_place(rule: &Rule, place: usize) -> bool {
    match rule.via {
        Target::Tunnel(tunnel) => usize::from(tunnel.number()) == place,
        Target::Direct | Target::Block => false,
    }
}

/// Places behind the one that went move up.
fn close_gap(rule: &mut Rule, gone: usize) {
    if let Target::Tunnel(tunnel) = rule.via
        && usize::from(tunnel.number()) > gone
    {
        rule.via = Target::Tunnel(TunnelId::new(tunnel.number().saturating_sub(1)));
    }
}

fn shown(reloaded: &Reloaded) -> ReloadedShown {
    ReloadedShown {
        added: reloaded.added.clone(),
        removed: reloaded.removed.clone(),
        restarted: reloaded.restarted.clone(),
        changed: reloaded.changed.clone(),
        rules: reloaded.rules,
        steps: reloaded.steps.iter().map(ToString::to_string).collect(),
        notes: reloaded.notes.clone(),
    }
}

fn added_sentence(now: &Now) -> String {
    let Some(tunnel) = now.config.tunnels.last() else { return String::from("nothing was added") };
    let name = &tunnel.name;
    match &now.arguments.source.config {
        None => format!("{name} is added and connects."),
        Some(file) => format!(
            "{name} is added and connects. It is not in {file}: without a [[tunnel]] there (name = \"{name}\", profile = \
             \"{}\") it is gone with the next reload or up.",
            tunnel.file
        ),
    }
}

fn removed_sentence(name: &str, source: &Source) -> String {
    match &source.config {
        None => format!("{name} is removed."),
        Some(file) => {
            format!("{name} is removed. Where {file} still has its [[tunnel]], it is back with the next reload or up.")
        }
    }
}

fn ending() -> NotDone {
    NotDone::new("the engine is ending")
}

impl NotDone {
    fn new(why: &str) -> Self {
        Self { why: why.to_owned(), hint: None }
    }

    fn hint(mut self, hint: &str) -> Self {
        self.hint = (!hint.is_empty()).then(|| hint.to_owned());
        self
    }
}

impl From<Refused> for NotDone {
    fn from(refused: Refused) -> Self {
        Self::new(&refused.message).hint(&refused.hint)
    }
}

impl From<&Failure> for NotDone {
    fn from(failure: &Failure) -> Self {
        Self { why: failure.sentence(), hint: failure.hinted().map(ToOwned::to_owned) }
    }
}

#[cfg(test)]
mod tests;
