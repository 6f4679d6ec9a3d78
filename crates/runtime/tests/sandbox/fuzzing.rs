//! N34: what `fuzz/` does for as long as it is told, here for a moment and from a fixed seed.

use crate::entries;

/// Numbers by chance, the same in every run.
struct Chance(u64);

impl Chance {
    fn below(&mut self, most: usize) -> usize {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) as usize % most.max(1)
    }

    /// One of the examples, damaged in some places.
    fn damaged(&mut self, examples: &[&[u8]]) -> Vec<u8> {
        let mut bytes = examples[self.below(examples.len())].to_vec();
        for _ in 0..self.below(6) {
            let at = self.below(bytes.len());
            match self.below(6) {
                0 if !bytes.is_empty() => bytes[at] ^= 1 << self.below(8),
                1 if !bytes.is_empty() => bytes[at] = self.below(256) as u8,
                2 => bytes.insert(at, b"\r\n\0 :,\"{}-"[self.below(10)]),
                3 => bytes.truncate(at),
                4 => {
                    // A part of one in the middle of another.
                    let other = examples[self.below(examples.len())];
                    let from = self.below(other.len());
                    let part = other[from..(from + self.below(40)).min(other.len())].to_vec();
                    bytes.splice(at..at, part);
                }
                _ if !bytes.is_empty() => drop(bytes.remove(at)),
                _ => {}
            }
        }
        bytes
    }
}

const HEADS: &[&[u8]] = &[
    b"GET /a?b HTTP/1.1\r\nhost: shop.localhost\r\nx-forwarded-for: 10.0.0.1\r\nconnection: x-own, close\r\nx-own: 1\r\n\r\n",
    b"POST http://shop.localhost:80/ HTTP/1.1\r\nhost: other\r\ntransfer-encoding: chunked\r\nte: trailers\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"PUT / HTTP/1.0\r\ncontent-length: 5\r\n\r\nhello",
    b"GET / HTTP/1.1\r\nhost: a\r\nupgrade: websocket\r\n\r\nOPTIONS * HTTP/1.1\r\nhost: [::1]:80\r\nforwarded: for=x\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\x06\x04\0\0\0\0\0\0\x04\0\0\0\0\0\0\x05\x01\x05\0\0\0\x01\x82\x84\x86\x41\0",
];

const FILES: &[&[u8]] = &[
    include_bytes!("../../../scheduler/tests/app/design.yaml"),
    b"app: hello\nimage: ./hello.wasm\nreplicas: 3\nroute: hello.localhost\n",
    b"apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n---\napp: [*a, &a {b: 1e9, <<: *a}]\n",
];

const ARTIFACTS: &[&[u8]] = &[
    br#"{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json","config":{"mediaType":"application/vnd.wasm.config.v0+json","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":2},"layers":[{"mediaType":"application/wasm","digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":9}]}"#,
    br#"{"schemaVersion":2,"manifests":[{"mediaType":"application/vnd.oci.image.manifest.v1+json","digest":"sha256:00","size":18446744073709551616,"platform":{"architecture":"wasm","os":"wasip2"}}]}"#,
    b"\0asm\x0d\0\x01\0\x07\x0a\x01A\0\0\x01\x42\0\0\0\0\0\x0b\x05\x01\0\x01a\x01",
];

const PATCHES: &[&[u8]] = &[
    br#"{"metadata":{"$deleteFromPrimitiveList/finalizers":["a"]},"spec":{"strategy":{"$retainKeys":["type"],"type":"Recreate"}}}"#,
    br#"{"spec":{"template":{"spec":{"$setElementOrder/containers":[{"name":"web"}],"containers":[{"name":"web","env":[{"$patch":"delete","name":"A"}]}]}}}}"#,
    br#"[{"op":"copy","from":"/spec","path":"/metadata/labels"},{"op":"test","path":"/spec/replicas","value":1}]"#,
    b"apiVersion: apps/v1\nkind: Deployment\nmetadata: { name: web }\nspec: &a { replicas: 1, x: *a }\n",
];

const OBJECTS: &[&[u8]] = &[
    b"k8s\0\x0a\x09\x0a\x02v1\x12\x03Pod\x12\x12\x0a\x05\x0a\x03web\x12\x09\x12\x07\x0a\x01a\x12\x02b1\x1a\0\x22\0",
    b"k8s\0\x0a\x0c\x0a\x02v1\x12\x06Secret\x12\x0e\x0a\x03\x0a\x01a\x12\x07\x0a\x01k\x12\x02hi",
];

fn run(times: usize) {
    let component =
        wat::parse_str(r#"(component (import "wasi:http/types@0.2.0" (instance)) (core module (memory 1) (func (loop (br 0)))))"#);
    let component = component.unwrap();
    let artifacts: Vec<&[u8]> = ARTIFACTS.iter().copied().chain([&component[..]]).collect();
    let code: Vec<&[u8]> = vec![b"\x00\x7fELF\x02\x01\x01", b"\x01abcdefgh", &[1; 33], &[0; 4096]];
    let mut chance = Chance(7);
    // What is not damaged goes first.
    HEADS.iter().for_each(|head| entries::http_head(head));
    for _ in 0..times {
        entries::http_head(&chance.damaged(HEADS));
        entries::manifest(&chance.damaged(FILES));
        entries::patch(&chance.damaged(PATCHES));
        entries::protobuf(&chance.damaged(OBJECTS));
        entries::artifact(&chance.damaged(&artifacts));
    }
    (0..times / 40).for_each(|_| entries::cached_code(&chance.damaged(&code)));
}

#[test]
fn n34_readers_of_strangers_bytes_answer_whatever_comes() {
    run(2_000);
}

#[test]
#[ignore = "nightly: takes minutes"]
fn n34_readers_of_strangers_bytes_answer_two_hundred_thousand_times() {
    run(200_000);
}
