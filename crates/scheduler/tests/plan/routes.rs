//! Which Ingress has a route.

use crate::teller::check;

#[test]
fn the_younger_ingress_is_told_once_that_a_route_is_taken() {
    check(
        "ingress shop shop.localhost /users shop
         after 1
         ingress blog Shop.localhost /users/ blog
         plan
         plan
         delete ingress shop
         plan",
        "event RouteTaken ingress blog: shop.localhost/users belongs to the older Ingress shop, so those requests do not come here; choose another host or path, or take it away there
         waiting ingress blog: shop.localhost/users belongs to the older Ingress shop, so those requests do not come here; choose another host or path, or take it away there
         --
         waiting ingress blog: shop.localhost/users belongs to the older Ingress shop, so those requests do not come here; choose another host or path, or take it away there
         --
         --",
    );
}
