//! A folder of files, deployed and served, and what is refused.

mod common;

use common::Machine;

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_is_served_and_replaced_as_a_whole() {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    write("app.yaml", "app: site\nstatic: ./dist\nreplicas: 2\nroute: site.localhost\n");
    write("dist/index.html", "<p>one");
    write("dist/old/page.css", "p {}");
    write("secret", "not served");
    let file = folder.path().join("app.yaml");
    let machine = Machine::up(&[&file]);
    machine.prints("app site is ready");
    assert_eq!(machine.get("site.localhost", "/").await, (200, "<p>one".into()));
    assert_eq!(machine.get("site.localhost", "/old/page.css").await, (200, "p {}".into()));
    for path in ["/secret", "/%2e%2e/secret", "/../secret", "/none"] {
        assert!(matches!(machine.get("site.localhost", path).await.0, 400..500), "{path}");
    }

    let deploy = || machine.ok(&["deploy", file.to_str().unwrap(), "--wait"]);
    let image = || machine.json(&["get", "deployment", "site"])["spec"]["template"]["spec"]["containers"][0]["image"].clone();
    let before = image();
    deploy();
    assert_eq!(image(), before, "the same files are the same digest");
    write("dist/index.html", "<p>two");
    std::fs::remove_dir_all(folder.path().join("dist/old")).unwrap();
    deploy();
    assert_eq!(machine.get("site.localhost", "/").await, (200, "<p>two".into()));
    assert_eq!(machine.get("site.localhost", "/old/page.css").await.0, 404);
    machine.ok(&["rollout", "undo", "site", "--wait"]);
    assert_eq!(machine.get("site.localhost", "/").await, (200, "<p>one".into()));

    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("../secret", folder.path().join("dist/link")).unwrap();
        let refused = machine.fails(&["deploy", file.to_str().unwrap()]);
        assert!(refused.contains("link is neither a file nor a folder"), "{refused}");
    }
}
