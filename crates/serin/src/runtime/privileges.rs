//! Giving up what is not needed once the ports are bound.
//!
//! Order matters: sockets first, then another user, then no capability, then no way to gain any,
//! then Landlock (files) and seccomp (system calls). All of it happens before the first worker
//! thread starts, because a thread keeps what it was born with.

use std::ffi::CString;
use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, bail};
use caps::CapSet;
use landlock::{
    ABI, Access as _, AccessFs, PathBeneath, PathFd, PathFdError, Ruleset, RulesetAttr as _,
    RulesetCreatedAttr as _, RulesetStatus,
};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::unistd::{AccessFlags, Gid, Group, Uid, User, faccessat};

use crate::state::StateDir;

/// What to give up, and what to keep.
pub(crate) struct Plan<'a> {
    /// `run.user`, by name or number.
    pub(crate) user: Option<&'a str>,
    /// `run.group`, by name or number.
    pub(crate) group: Option<&'a str>,
    /// Whether to use Landlock and seccomp.
    pub(crate) sandbox: bool,
    /// The state folder; handed over to the user.
    pub(crate) state: &'a StateDir,
    /// Other files that are written, renamed and made anew, whose owner stays.
    pub(crate) logs: Vec<PathBuf>,
    /// Files and folders that are read again with each new configuration.
    pub(crate) readable: Vec<PathBuf>,
}

/// What came of it, for the operator.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// What could not be given up, and what that means.
    pub(crate) warnings: Vec<String>,
    /// In one line.
    pub(crate) summary: String,
}

/// The user and group that the process will be, where it is root now and can be another.
///
/// # Errors
///
/// When the configured user or group does not exist: going on as root would be a surprise.
pub(crate) fn next_user(plan: &Plan<'_>) -> anyhow::Result<Option<(Uid, Gid)>> {
    if nix::unistd::geteuid().is_root() { whom(plan) } else { Ok(None) }
}

/// Gives up whatever the plan does not keep, and becomes `next`.
///
/// # Errors
///
/// When that user cannot be become.
pub(crate) fn give_up(plan: &Plan<'_>, next: Option<(Uid, Gid)>) -> anyhow::Result<Outcome> {
    let mut outcome = Outcome::default();
    let mut parts = Vec::new();
    if let Some((user, group)) = next {
        become_user(plan.state, user, group)?;
        parts.push(format!("running as uid {user}"));
    } else if nix::unistd::geteuid().is_root() {
        let text = "still root, because no other user can reach the state folder; set run.user and a folder of its own";
        outcome.warnings.push(text.to_owned());
    } else if plan.user.is_some() {
        outcome.warnings.push("run.user is set, but only root can become another user".to_owned());
    }
    for set in [CapSet::Ambient, CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        if let Err(error) = caps::clear(None, set) {
            outcome.warnings.push(format!("capabilities could not be given up: {error}"));
        }
    }
    if let Err(error) = nix::sys::prctl::set_no_new_privs() {
        outcome.warnings.push(format!("no_new_privs could not be set: {error}"));
    }
    outcome.warnings.extend(out_of_reach(plan));
    if plan.sandbox {
        match landlock(plan, &mut outcome.warnings) {
            Ok(RulesetStatus::NotEnforced) => {
                outcome
                    .warnings
                    .push("the kernel has no Landlock: files are guarded by permissions alone".to_owned());
            }
            Ok(_) => parts.push("Landlock".to_owned()),
            Err(error) => outcome.warnings.push(format!("Landlock could not be used: {error}")),
        }
        match seccomp() {
            Ok(()) => parts.push("seccomp".to_owned()),
            Err(error) => outcome.warnings.push(format!("seccomp could not be used: {error}")),
        }
    }
    outcome.summary = parts.join(", ");
    Ok(outcome)
}

/// The user and group to become; `None`: nobody that could use the state folder.
fn whom(plan: &Plan<'_>) -> anyhow::Result<Option<(Uid, Gid)>> {
    if let Some(name) = plan.user {
        let (uid, own_group) = find_user(name)?;
        let gid = match plan.group {
            Some(group) => find_group(group)?,
            None => own_group.unwrap_or_else(|| Gid::from_raw(uid.as_raw())),
        };
        return Ok(Some((uid, gid)));
    }
    let candidate = ["serin", "nobody"].iter().find_map(|it| User::from_name(it).ok().flatten());
    let Some(user) = candidate else { return Ok(None) };
    Ok(reachable(plan.state.path()).then_some((user.uid, user.gid)))
}

fn find_user(name: &str) -> anyhow::Result<(Uid, Option<Gid>)> {
    if let Ok(number) = name.parse() {
        let uid = Uid::from_raw(number);
        return Ok((uid, User::from_uid(uid).ok().flatten().map(|it| it.gid)));
    }
    match User::from_name(name)? {
        Some(user) => Ok((user.uid, Some(user.gid))),
        None => bail!("run.user: this host has no user {name:?}"),
    }
}

fn find_group(name: &str) -> anyhow::Result<Gid> {
    if let Ok(number) = name.parse() {
        return Ok(Gid::from_raw(number));
    }
    match Group::from_name(name)? {
        Some(group) => Ok(group.gid),
        None => bail!("run.group: this host has no group {name:?}"),
    }
}

/// Whether somebody else could come as far as `path`, if it were theirs: by its name, and by where
/// links in that lead.
fn reachable(path: &Path) -> bool {
    const OTHERS_MAY_PASS: u32 = 0o001;
    let passable = |it: &Path| {
        it.ancestors().skip(1).all(|it| fs::metadata(it).is_ok_and(|it| it.mode() & OTHERS_MAY_PASS != 0))
    };
    [std::path::absolute(path), path.canonicalize()].iter().all(|it| it.as_deref().is_ok_and(passable))
}

fn become_user(state: &StateDir, user: Uid, group: Gid) -> anyhow::Result<()> {
    state
        .hand_over(user, group)
        .with_context(|| format!("{} could not be handed over", state.path().display()))?;
    let name = User::from_uid(user).ok().flatten().map(|it| it.name).unwrap_or_default();
    match CString::new(name) {
        Ok(name) if !name.is_empty() => nix::unistd::initgroups(&name, group).context("groups")?,
        _ => nix::unistd::setgroups(&[group]).context("groups")?,
    }
    nix::unistd::setresgid(group, group, group).context("group")?;
    nix::unistd::setresuid(user, user, user).context("user")?;
    Ok(())
}

/// What the user that we are now cannot do with the operator's files, and what follows from it.
fn out_of_reach(plan: &Plan<'_>) -> Vec<String> {
    let user = nix::unistd::geteuid();
    let may = |path: &Path, how| faccessat(AT_FDCWD, path, how, AtFlags::AT_EACCESS) != Err(Errno::EACCES);
    let unreadable = plan.readable.iter().filter(|it| {
        let search = if it.is_dir() { AccessFlags::X_OK } else { AccessFlags::empty() };
        !may(it, AccessFlags::R_OK | search)
    });
    let changed = unreadable.map(|it| {
        format!(
            "uid {user} may not read {}: its changes need a restart, a reload cannot see them",
            it.display()
        )
    });
    // A device or a pipe is never rotated.
    let logs = plan.logs.iter().filter(|it| fs::metadata(it).map_or(true, |it| it.is_file()));
    let stuck = logs.filter(|it| !may(folder_of(it), AccessFlags::W_OK | AccessFlags::X_OK)).map(|it| {
        format!(
            "uid {user} may not write to the folder of {}, so that the sensor can neither rotate it nor make it anew; logrotate can, with copytruncate or create",
            it.display()
        )
    });
    changed.chain(stuck).collect()
}

/// The folder that a file is in; the working folder has no name in a bare file name.
fn folder_of(file: &Path) -> &Path {
    file.parent().filter(|it| !it.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// What to open up so that `path`, and what is put in its place later, can be opened: Landlock looks
/// at where a file really is, not at links to it.
fn really(path: &Path) -> Vec<PathBuf> {
    let real = path.canonicalize().ok();
    let places = [Some(path), real.as_deref()].into_iter().flatten();
    let mut all: Vec<_> =
        places.map(|it| if path.is_dir() { it } else { folder_of(it) }.to_owned()).collect();
    all.dedup();
    all
}

fn landlock(plan: &Plan<'_>, warnings: &mut Vec<String>) -> anyhow::Result<RulesetStatus> {
    const NEWEST: ABI = ABI::V5;
    let read = AccessFs::from_read(NEWEST) & !AccessFs::Execute;
    let all = AccessFs::from_all(NEWEST) & !AccessFs::Execute;
    // Devices for logs that go to /dev/stdout or /dev/null; /etc and zone files for names and times.
    let system = ["/etc", "/usr/share/zoneinfo", "/proc", "/sys/fs/cgroup"].map(PathBuf::from);
    let devices = ["/dev", "/run/systemd"].map(PathBuf::from);
    let mut rules = Ruleset::default().handle_access(AccessFs::from_all(NEWEST))?.create()?;
    let state = plan.state.path().to_owned();
    let readable = system.into_iter().chain(plan.readable.iter().flat_map(|it| really(it)));
    let writable = devices.into_iter().chain(plan.logs.iter().flat_map(|it| really(it))).chain([state]);
    for (path, access) in readable.map(|it| (it, read)).chain(writable.map(|it| (it, all))) {
        match PathFd::new(&path) {
            Ok(open) => {
                let access = if path.is_dir() { access } else { access & AccessFs::from_file(NEWEST) };
                rules = rules.add_rule(PathBeneath::new(open, access))?;
            }
            // What does not exist needs no permission; what we may not reach was told before.
            Err(PathFdError::OpenCall { source, .. })
                if matches!(source.kind(), ErrorKind::NotFound | ErrorKind::PermissionDenied) => {}
            Err(error) => warnings.push(format!("closed to the sensor from now on: {error}")),
        }
    }
    Ok(rules.restrict_self()?.ruleset)
}

/// Refuses system calls that a decoy never makes and an intruder would want. The list names what is
/// refused rather than what is allowed: a new libc must not stop the sensor.
fn seccomp() -> anyhow::Result<()> {
    use nix::libc;
    use seccompiler::{SeccompAction, SeccompFilter, TargetArch};
    let refused = [
        libc::SYS_execve,
        libc::SYS_execveat,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_pivot_root,
        libc::SYS_chroot,
        libc::SYS_unshare,
        libc::SYS_setns,
        libc::SYS_bpf,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_finit_module,
        libc::SYS_delete_module,
        libc::SYS_add_key,
        libc::SYS_keyctl,
        libc::SYS_perf_event_open,
        libc::SYS_userfaultfd,
    ];
    let arch = TargetArch::try_from(std::env::consts::ARCH)?;
    let filter = SeccompFilter::new(
        refused.iter().map(|it| (*it, Vec::new())).collect(),
        SeccompAction::Allow,
        SeccompAction::Errno(u32::try_from(libc::EPERM)?),
        arch,
    )?;
    let program: seccompiler::BpfProgram = filter.try_into()?;
    seccompiler::apply_filter(&program)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_is_opened_up_where_it_leads_and_a_bare_name_where_we_are() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        let [etc, data] = ["etc", "data"].map(|it| root.join(it));
        for it in [&etc, &data] {
            fs::create_dir(it).unwrap();
        }
        fs::write(data.join("serin.toml"), "").unwrap();
        std::os::unix::fs::symlink("../data/serin.toml", etc.join("serin.toml")).unwrap();
        std::os::unix::fs::symlink("../data", etc.join("skin")).unwrap();
        assert_eq!(really(&etc.join("serin.toml")), [etc.clone(), data.clone()]);
        assert_eq!(really(&etc.join("skin")), [etc.join("skin"), data.clone()]);
        assert_eq!(really(&data), std::slice::from_ref(&data));
        assert_eq!(really(&data.join("not there yet")), [data]);
        assert_eq!(really(Path::new("not-there.toml")), [PathBuf::from(".")]);
    }

    #[test]
    fn others_reach_a_folder_only_through_open_ones() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let [closed, open] = ["closed", "open"].map(|it| folder.path().join(it));
        for (path, mode) in [(&closed, 0o700), (&open, 0o755), (&folder.path().to_owned(), 0o755)] {
            fs::create_dir_all(path.join("state")).unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        std::os::unix::fs::symlink(closed.join("state"), open.join("link")).unwrap();
        assert!(reachable(&open.join("state")));
        assert!(!reachable(&closed.join("state")));
        assert!(!reachable(&open.join("link")), "it leads into a closed folder");
    }
}
