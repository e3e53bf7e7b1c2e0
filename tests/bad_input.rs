//! Bad input, where it is read: decoders, the state machine, and the files of a node.
//!
//! The bodies of the targets are shared with `fuzz/`, where libFuzzer looks for inputs for longer;
//! here they run over the corpus that is kept in `fuzz/corpus`, and over a fixed number of mutations
//! of it. `cluster_bad_input.rs` sends the like to real nodes.

#[path = "bad_input/corpus.rs"]
mod corpus;
#[path = "bad_input/files.rs"]
mod files;
#[path = "bad_input/mutation.rs"]
mod mutation;
#[path = "bad_input/replicas.rs"]
mod replicas;
#[path = "bad_input/seeds.rs"]
mod seeds;
#[path = "bad_input/targets/mod.rs"]
mod targets;

/// A test a target.
macro_rules! targets {
    ($($name:ident)*) => {
        $(
            #[test]
            fn $name() {
                corpus::hold(stringify!($name));
            }
        )*

        #[test]
        fn every_target_has_a_test_and_a_binary_for_the_fuzzer() {
            let names = [$(stringify!($name)),*];
            assert_eq!(names.to_vec(), targets::TARGETS.map(|(name, _)| name).to_vec());
            let manifest = std::fs::read_to_string("fuzz/Cargo.toml").unwrap();
            for name in names {
                assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
            }
        }
    };
}

targets!(check_body log_body query_body batch_body members_body export_parameters object_path
    idempotency_key cursor peer_message stored_value machine manifest archive);
