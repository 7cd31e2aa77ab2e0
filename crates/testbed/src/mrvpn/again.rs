//! One instance over several runs of its engine: ended in a good way or killed, and started again with what it remembers.
//! A single run is [`super::Mrvpn`]'s own.

use crate::{process::Process, world::World};

use super::{END, Mrvpn, tunnels, up};

impl Mrvpn {
    /// `mrvpn down` and the engine's end, as [`Self::down`]; the instance keeps its state directory.
    ///
    /// # Panics
    /// When either fails.
    #[track_caller]
    pub fn down_for_now(&mut self) {
        let output = self.run(&["down"]);
        assert!(output.status.success(), "down: {output:?}\n{}", self.process.log());
        let status = self.process.wait_end(END);
        assert!(status.success(), "the engine ended with {status}\n{}", self.process.log());
    }

    /// Starts `mrvpn up ARGUMENTS` of the same instance once more and does not wait. The last run has ended.
    ///
    /// # Panics
    /// When the last run has not, or the program cannot be started.
    #[track_caller]
    pub fn start_again<S: AsRef<str>>(&mut self, world: &World, arguments: &[S]) {
        assert!(!self.process.is_running(), "the engine of {} still runs", self.instance);
        let command = up(&world.client, &self.instance, arguments, &world.scratch);
        self.process =
            Process::start(&format!("mrvpn-{}", crate::scratch::unique_name()), command, world.scratch.path());
    }

    /// As [`Self::start_again`], and waits until each tunnel is up.
    #[track_caller]
    pub fn up_again<S: AsRef<str>>(&mut self, world: &World, arguments: &[S]) {
        self.start_again(world, arguments);
        self.wait(|status| tunnels(status).iter().all(|tunnel| tunnel["state"] == "up"));
    }
}
