//! Where Services are reached.

use crate::teller::check;

#[test]
fn a_load_balancer_is_reached_at_every_node_that_is_there() {
    check(
        "node a 1Gi
         node b 1Gi
         address a 10.0.0.1
         address b 10.0.0.2
         deploy web 1 web@sha256:1
         settle
         type web LoadBalancer
         plan
         plan
         address b 10.0.0.3
         plan
         gone a
         quietly
         plan
         address b 10.0.0.4
         plan
         ingress in example.com / web
         plan
         type web ClusterIP
         plan
         plan",
        "service web is reached at 10.0.0.1 10.0.0.2
         --
         --
         service web is reached at 10.0.0.1 10.0.0.3
         look again at 1006s
         --
         remove pod web#1-8: node a is lost
         waiting node a: node a is gone
         waiting deployment web: 0 of 1 pods are ready
         --
         service web is reached at 10.0.0.4
         waiting node a: node a is gone
         waiting deployment web: 0 of 1 pods are ready
         look again at 1006s
         --
         ingress in is reached at 10.0.0.4
         --
         service web is reached at no node
         --
         --",
    );
}
