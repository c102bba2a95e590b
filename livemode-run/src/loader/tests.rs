use super::*;

const OURS: &str = "a1-livemode";

fn own() -> OwnEntry {
    OwnEntry {
        id: OURS.into(),
        path: format!("/boot/loader/entries/{OURS}.conf"),
        kernel: "/boot/vmlinuz-livemode.x86_64".into(),
        initramfs: "/boot/initramfs-livemode.x86_64.img".into(),
        keeper: Keeper::Grub {
            grubenv: "/boot/grub2/grubenv".into(),
            grubenv_on: None,
        },
        boot: "/".into(),
        former_default: "a1-5".into(),
    }
}

/// A source system on which the upgrade has installed a kernel `6` beside the old `5`.
fn source() -> (tempfile::TempDir, Loader) {
    let dir = tempfile::tempdir().unwrap();
    let source = SysRoot::new(dir.path());
    for place in [files::ENTRIES, "boot/grub2", STATE_DIR] {
        fs::create_dir_all(source.at(place)).unwrap();
    }
    for (id, version) in [
        ("a1-5", "5"),
        ("a1-6", "6"),
        ("a1-0-rescue", "0-rescue"),
        (OURS, "livemode.x86_64"),
    ] {
        let text =
            format!("title {id}\nlinux /vmlinuz-{version}\ninitrd /initramfs-{version}.img\noptions ro\n");
        fs::write(source.at(files::ENTRIES).join(format!("{id}.conf")), text).unwrap();
        fs::write(source.at(format!("boot/vmlinuz-{version}")), "").unwrap();
        fs::write(source.at(format!("boot/initramfs-{version}.img")), "").unwrap();
        let modules = source.at(MODULES).join(version);
        fs::create_dir_all(&modules).unwrap();
        fs::write(modules.join("modules.dep"), "").unwrap();
    }
    let mut env = Grubenv::default();
    env.set(SAVED_ENTRY, "a1-5");
    fs::write(source.at("boot/grub2/grubenv"), env.to_bytes().unwrap()).unwrap();
    let loader = Loader {
        source,
        own: own(),
        variables: PathBuf::new(),
    };
    (dir, loader)
}

fn block(loader: &Loader) -> PathBuf {
    loader.source.at("boot/grub2/grubenv")
}

fn variables(path: &Path) -> Vec<(String, String)> {
    Grub::variables(&Grubenv::read(path).unwrap())
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    pairs
        .iter()
        .map(|(a, b)| ((*a).to_owned(), (*b).to_owned()))
        .collect()
}

#[test]
fn what_is_set_while_leapp_runs_counts_after_success_only() {
    let (_dir, loader) = source();
    loader.keep_ours().unwrap();
    assert_eq!(
        variables(&block(&loader)),
        pairs(&[("saved_entry", OURS), ("next_entry", OURS)])
    );
    assert_eq!(loader.boots().unwrap(), [OURS, OURS]);
    let stand_in = loader.stand_in(false).unwrap();
    assert_eq!(stand_in.covers, "/boot/grub2/grubenv");
    assert_eq!(variables(&stand_in.file), pairs(&[("saved_entry", "a1-5")]));
    let mut set = Grubenv::read(&stand_in.file).unwrap();
    set.set(SAVED_ENTRY, "a1-6");
    set.set("kernelopts", "ro");
    set.write_in_place(&stand_in.file).unwrap();
    // A run that resumes this one goes on with it.
    assert_eq!(loader.stand_in(true).unwrap(), stand_in);
    assert_eq!(loader.target().unwrap().id, "a1-6");
    assert_eq!(variables(&block(&loader))[0].1, OURS);

    loader.hand_over("a1-6").unwrap();
    assert_eq!(
        variables(&block(&loader)),
        pairs(&[("saved_entry", "a1-6"), ("kernelopts", "ro")])
    );
    assert!(!loader.source.at(&loader.own.path).exists());
    loader.hand_over("a1-6").unwrap();
}

#[test]
fn what_a_run_has_set_that_came_to_nothing_is_forgotten() {
    let (_dir, loader) = source();
    let stand_in = loader.stand_in(false).unwrap();
    let mut set = Grubenv::read(&stand_in.file).unwrap();
    set.set(SAVED_ENTRY, "a1-6");
    set.write_in_place(&stand_in.file).unwrap();
    // Back in the old system somebody sets a variable, and the upgrade is tried again.
    let mut env = Grubenv::read(&block(&loader)).unwrap();
    env.set("kernelopts", "quiet");
    env.write_in_place(&block(&loader)).unwrap();
    loader.stand_in(false).unwrap();
    assert_eq!(
        variables(&stand_in.file),
        pairs(&[("saved_entry", "a1-5"), ("kernelopts", "quiet")])
    );
}

#[test]
fn a_failure_gives_the_old_default_back_and_keeps_what_somebody_has_chosen() {
    let (_dir, loader) = source();
    loader.keep_ours().unwrap();
    loader.give_back().unwrap();
    assert_eq!(variables(&block(&loader)), pairs(&[("saved_entry", "a1-5")]));
    assert_eq!(loader.boots().unwrap(), ["a1-5", "a1-5"]);
}

/// The same source system, whose loader is systemd-boot; 6 has its tries counted.
fn with_systemd_boot() -> (tempfile::TempDir, Loader) {
    let (dir, mut loader) = source();
    let entries = loader.source.at("efi/loader/entries");
    fs::create_dir_all(&entries).unwrap();
    for (name, version) in [("a1-5", "5"), ("a1-6+3", "6"), (OURS, "livemode")] {
        let kernel = format!("a1/{version}/linux");
        let text = format!("title {name}\nlinux /{kernel}\nsort-key demo\nversion {version}\n");
        fs::write(entries.join(format!("{name}.conf")), text).unwrap();
        let kernel = loader.source.at("efi").join(kernel);
        fs::create_dir_all(kernel.parent().unwrap()).unwrap();
        fs::write(kernel, "").unwrap();
    }
    loader.variables = dir.path().join("variables");
    fs::create_dir(&loader.variables).unwrap();
    efivars::write(&loader.variables, efivars::LOADER_INFO, Some("systemd-boot 257")).unwrap();
    loader.own = OwnEntry {
        id: format!("{OURS}.conf"),
        path: format!("/efi/loader/entries/{OURS}.conf"),
        keeper: Keeper::SystemdBoot {
            esp: "/efi".into(),
            former_choice: None,
        },
        boot: "/efi".into(),
        former_default: "a1-5.conf".into(),
        ..own()
    };
    (dir, loader)
}

#[test]
fn systemd_boot_is_told_of_ours_and_then_of_nothing_where_it_comes_to_the_target_by_itself() {
    let (_dir, loader) = with_systemd_boot();
    let told = || {
        [systemd_boot::ONE_SHOT, systemd_boot::DEFAULT]
            .map(|name| efivars::read(&loader.variables, name).unwrap())
    };
    let ours = Some(format!("{OURS}.conf"));
    loader.keep_ours().unwrap();
    assert_eq!(told(), [ours.clone(), ours]);
    let stand_in = loader.stand_in(false).unwrap();
    assert!(stand_in.is_read_only && stand_in.covers == "/sys/firmware/efi/efivars");
    loader.give_back().unwrap();
    assert_eq!(told(), [None, None]);
    assert_eq!(loader.boots().unwrap(), ["a1-5.conf", "a1-5.conf"]);
    loader.keep_ours().unwrap();
    assert_eq!(loader.target().unwrap().id, "a1-6.conf");
    // Another one than it would come to stays chosen, whatever its counters are.
    loader.hand_over("a1-5.conf").unwrap();
    assert_eq!(told(), [None, Some("a1-5.conf".into())]);
    loader.hand_over("a1-6.conf").unwrap();
    assert_eq!(told(), [None, None]);
    assert!(!loader.source.at(&loader.own.path).exists());
    // Without its modules it is none.
    fs::remove_file(loader.source.at("lib/modules/6/modules.dep")).unwrap();
    assert_eq!(loader.target().unwrap().id, "a1-5.conf");
}

#[test]
fn an_upgraded_system_without_a_kernel_is_never_what_boots() {
    let (_dir, loader) = source();
    let remove = |path: &str| fs::remove_file(loader.source.at(path)).unwrap();
    assert_eq!(
        loader.target().unwrap().id,
        "a1-6",
        "the newest where nothing was set"
    );
    remove("boot/initramfs-6.img");
    assert_eq!(loader.target().unwrap().id, "a1-5");
    remove("lib/modules/5/modules.dep");
    let why = loader.target().unwrap_err().to_string();
    assert!(
        why.contains("/initramfs-6.img is missing") && why.contains("/lib/modules/5 is missing"),
        "{why}"
    );
    for id in ["a1-5", "a1-6"] {
        remove(&format!("{}/{id}.conf", files::ENTRIES));
    }
    let why = loader.target().unwrap_err().to_string();
    assert_eq!(why, "the boot loader has no entry but the upgrade's own");
}
