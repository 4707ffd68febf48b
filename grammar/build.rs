fn main() {
    println!("cargo:rerun-if-changed=src/nn.lalrpop");
    lalrpop::process_src().expect("the grammar has no conflicts");
}
