//! Not a test: a cluster to try kubectl on.

use crate::support::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "slow: for trying things by hand; says which KUBECONFIG to use, and runs for an hour"]
async fn a_cluster_to_try_things_on() {
    let Some(cluster) = Cluster::with_node().await else { return };
    println!("export KUBECONFIG={} IMAGE={}", cluster.home().join("config").display(), cluster.image);
    tokio::time::sleep(std::time::Duration::from_secs(3600)).await;
    cluster.stop().await;
}
