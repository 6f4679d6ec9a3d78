//! Verbs as people type them and as they mistype them: what each says, and whether it takes it.

use serde_json::json;

use crate::support::*;

/// Runs each line; those after `!` must fail. What it prints must hold the words behind `=>`.
async fn all(cluster: &Cluster, lines: &[&str]) {
    for line in lines {
        let (line, wanted) = line.split_once(" => ").unwrap_or((line, ""));
        let (fails, line) = line.strip_prefix("! ").map_or((false, line), |line| (true, line));
        let args: Vec<String> = line.split_whitespace().map(|word| word.replace('_', " ").replace("IMAGE", &cluster.image)).collect();
        let ran = cluster.kubectl(&args.iter().map(String::as_str).collect::<Vec<_>>()).await;
        assert_eq!(ran.code != Some(0), fails, "kubectl {line}: {ran:?}");
        let told = if fails { &ran.err } else { &ran.out };
        assert!(told.contains(wanted), "kubectl {line}: {wanted:?} in {ran:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_reads_takes_every_form_and_says_what_it_does_not_know() {
    let Some(cluster) = Cluster::with_node().await else { return };
    println!("{}", cluster.kubectl(&["version"]).await.ok());
    cluster.deploy("web", 2).await;
    let lines = [
        "explain pod.spec.containers.resources.limits => <map[string]Quantity>",
        "explain deployment.spec.template.spec.containers.livenessProbe.httpGet.port => <IntOrString>",
        "explain hpa.spec.metrics.resource.target.averageUtilization => <integer>",
        "explain cronjob.spec.jobTemplate.spec.template.spec.volumes.configMap.items => <[]KeyToPath>",
        "! explain pod.spec.nothing => field \"nothing\" does not exist",
        "! explain nothing => the server doesn't have a resource type \"nothing\"",
        "get deploy web --show-labels => LABELS",
        "get deploy web -o jsonpath-as-json={.metadata.name} => \"web\"",
        "get deploy web -o go-template={{.spec.replicas}} => 2",
        "get deploy web --subresource=scale -o jsonpath={.spec.replicas} => 2",
        "get pods -L app --sort-by=.metadata.name => APP",
        "get pods -w --output-watch-events --request-timeout=1s => ADDED",
        "get deploy nobody --ignore-not-found",
        "! get deploy nobody => deployments.apps \"nobody\" not found",
        "! get pods --field-selector=spec.nothing=1 => pods can be selected by",
        "! get pods -l app_in_(web => is not understood",
        "logs -l app=web --all-containers --tail=1 --timestamps --prefix --since=1h",
        "logs deploy/web --tail=1 => hello from the guest",
        "! logs deploy/web -c nobody => container nobody is not valid",
        "events --for deployment/web => Scaled",
        "auth can-i create deployments => yes",
        "auth can-i --list => *.*",
        "auth whoami => admin",
        "! auth can-i get pods --as=bob => cannot impersonate",
        "cluster-info dump => \"kind\": \"ReplicationControllerList\"",
        "wait --for=condition=Available deploy/web --timeout=30s => condition met",
        "wait --for=jsonpath={.status.readyReplicas}=2 deploy/web --timeout=30s => condition met",
        "wait --for=delete configmap/nobody --timeout=5s",
        "! wait --for=create configmap/nobody --timeout=1s => timed out",
        "! taint node edge-1 a=b:NoSchedule => set unschedulable, or select nodes by label",
        "! cp /etc/hostname nobody:/tmp => pods \"nobody\" not found",
        "! get pods --as=bob => cannot impersonate",
        "get --raw /openapi/v2 => \"swagger\":\"2.0\"",
    ];
    all(&cluster, &lines).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_writes_changes_what_it_says_and_refuses_what_cannot_be() {
    let Some(cluster) = Cluster::with_node().await else { return };
    cluster.deploy("web", 2).await;
    let lines = [
        "! scale deploy/web --replicas=3 --current-replicas=7 => Expected replicas to be 7, was 2",
        "scale deploy/web --replicas=3 --current-replicas=2 => scaled",
        "label deploy web tier=front => labeled",
        "! label deploy web tier=back => already has a value",
        "label deploy web tier=back --overwrite => labeled",
        "label deploy web tier- => unlabeled",
        "! label deploy web bad/key/x=y => cannot be a label",
        "annotate deploy --all note=mine => annotated",
        "annotate deploy web note- => annotated",
        "! set image deploy/web nobody=IMAGE => unable to find container",
        "set env deploy/web A=b => env updated",
        "set env deploy/web --list => A=b",
        "set env deploy/web A- => env updated",
        "set resources deploy/web --limits=cpu=100m,memory=64Mi --requests=cpu=50m => updated",
        "patch deploy web --subresource=status --type=merge -p {\"status\":{\"collisionCount\":7}} => patched",
        "patch deploy web --subresource=scale --type=merge -p {\"spec\":{\"replicas\":1}} => patched",
        "! patch deploy web -p {\"spec\":{\"replicas\":\"x\"}} => is not a whole number",
        "! patch deploy web -p {bad => the patch cannot be read",
        "! patch deploy web --type=json -p [{\"op\":\"remove\",\"path\":\"/spec/nothing\"}] => the patch does not fit",
        "! patch deploy web -p {\"metadata\":{\"uid\":\"x\"}} => it was deleted and made again",
        "! patch deploy web -p {\"kind\":\"Pod\"} => but this URL takes",
        "! rollout undo deploy/web --to-revision=99 => unable to find specified revision 99",
        "rollout undo deploy/web => rolled back",
        "rollout pause deploy/web => paused",
        "! rollout pause deploy/web => already paused",
        "! rollout restart deploy/web => can't restart paused",
        "rollout resume deploy/web => resumed",
        "rollout status deploy/web --timeout=60s => successfully rolled out",
        "! rollout restart service/web => services \"web\" not found",
        "expose deploy web --port=80 => exposed",
        "! rollout restart service/web => restarting is not supported",
        "! rollout status service/web => no status viewer",
        "create cronjob night --image=IMAGE --schedule=0_3_*_*_* => created",
        "create job now --from=cronjob/night => created",
        "! create cronjob bad --image=IMAGE --schedule=x => is not a cron line",
        "run one --image=IMAGE --env=A=b --labels=x=y --port=80 => created",
        "! run two --image=IMAGE -it -- sh => nothing can be attached",
        "run two --image=IMAGE --dry-run=server -o name => pod/two",
        "! create quota q --hard=pods=1 => the server could not find the requested resource",
        "delete job now --cascade=foreground --timeout=60s => deleted",
        "! delete namespace default => it stays",
        "delete all --all --timeout=60s => deployment.apps \"web\" deleted",
    ];
    all(&cluster, &lines).await;
    cluster.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_is_applied_and_a_kind_that_is_not_served_is_named() {
    let Some(cluster) = Cluster::start().await else { return };
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": [
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "one" } },
        { "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": "two" }, "data": { "a": "b" } },
    ] });
    let told = cluster.apply(&list.to_string(), &[]).await.ok();
    assert!(told.contains("configmap/one created") && told.contains("configmap/two created"), "{told}");
    for (version, kind) in [("v1", "PersistentVolumeClaim"), ("example.com/v1", "Thing")] {
        let other = json!({ "apiVersion": version, "kind": kind, "metadata": { "name": "x" } });
        let told = cluster.apply(&other.to_string(), &[]).await.fails();
        assert!(told.contains(&format!("no matches for kind \"{kind}\" in version \"{version}\"")), "{told}");
    }
    cluster.stop().await;
}
