;; An HTTP service, from outside; its module loops in its start function.
(component
    (import "wasi:http/types@0.2.0" (instance $types
        (export "incoming-request" (type (sub resource)))
        (export "response-outparam" (type (sub resource)))))
    (alias export $types "incoming-request" (type $request))
    (alias export $types "response-outparam" (type $out))
    (core module $m
        (memory 1)
        (table $t 1 funcref)
        (func $spin (loop (br 0)))
        (func (export "handle") (param i32 i32))
        (start $spin))
    (core instance $i (instantiate $m))
    (func $handle (param "request" (own $request)) (param "response-out" (own $out)) (canon lift (core func $i "handle")))
    (component $shape
        (import "request-type" (type $request (sub resource)))
        (import "out-type" (type $out (sub resource)))
        (import "handle" (func $handle (param "request" (own $request)) (param "response-out" (own $out))))
        (export "handle" (func $handle)))
    (instance $handler (instantiate $shape
        (with "request-type" (type $request)) (with "out-type" (type $out)) (with "handle" (func $handle))))
    (export "wasi:http/incoming-handler@0.2.0" (instance $handler)))
