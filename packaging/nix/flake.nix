# A flake for Nix. Untried: nobody has built or run xdpmap with it. Its syntax was checked by nix-instantiate.
#
#   nix build 'path:.?dir=packaging/nix'
#   nix run 'path:.?dir=packaging/nix' -- --version
#
# The module for NixOS gives the program to the members of the group scan: see docs/tuning.md (Privileges).
{
  description = "An Internet scanner on the Linux kernel's AF_XDP, with ZMap's flags and file formats";

  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs =
    { self, nixpkgs }:
    let
      systems = [
        "x86_64-linux"
        "aarch64-linux"
      ];
      forAll = make: nixpkgs.lib.genAttrs systems (system: make nixpkgs.legacyPackages.${system});
      tree = ../..;
      manifest = builtins.fromTOML (builtins.readFile (tree + "/Cargo.toml"));
    in
    {
      packages = forAll (pkgs: {
        default = pkgs.rustPlatform.buildRustPackage {
          pname = "xdpmap";
          version = manifest.workspace.package.version;
          src = tree;
          cargoLock.lockFile = tree + "/Cargo.lock";
          cargoBuildFlags = [ "--package=xdpmap" ];
          # Unwrapped: the wrapped compiler adds flags that no BPF program can have.
          XDPMAP_CLANG = "${pkgs.llvmPackages.clang-unwrapped}/bin/clang";
          XDPMAP_LLVM_STRIP = "${pkgs.llvmPackages.llvm}/bin/llvm-strip";
          nativeBuildInputs = [ pkgs.installShellFiles ];
          # They need root, network namespaces and servers.
          doCheck = false;
          postInstall = ''
            for name in blocklist ctl iterate tee; do ln -s xdpmap "$out/bin/xdpmap-$name"; done
            for name in blocklist checkpoint ctl diff doctor iterate merge resume tee verify; do
              "$out/bin/xdpmap" --generate "man-$name" >"xdpmap-$name.1"
            done
            "$out/bin/xdpmap" --generate man >xdpmap.1
            "$out/bin/xdpmap" --generate man-conf >xdpmap.conf.5
            installManPage ./*.1 ./*.5
            for shell in bash fish zsh; do
              "$out/bin/xdpmap" --generate "complete-$shell" >"complete-$shell"
              installShellCompletion --cmd xdpmap "--$shell" "complete-$shell"
            done
            install -D -m 644 -t "$out/share/doc/xdpmap" conf/xdpmap.conf conf/blocklist.conf
          '';
          meta = {
            description = "Internet scanner on AF_XDP, with ZMap's flags and file formats";
            license = with pkgs.lib.licenses; [
              mit
              asl20
            ];
            mainProgram = "xdpmap";
            platforms = systems;
          };
        };
      });

      nixosModules.default =
        { pkgs, ... }:
        let
          package = self.packages.${pkgs.stdenv.hostPlatform.system}.default;
        in
        {
          users.groups.scan = { };
          security.wrappers.xdpmap = {
            source = "${package}/bin/xdpmap";
            owner = "root";
            group = "scan";
            permissions = "u+rx,g+x";
            capabilities = "cap_net_raw,cap_net_admin,cap_bpf,cap_perfmon,cap_ipc_lock+ep";
          };
          environment.etc."xdpmap/blocklist.conf".source = tree + "/conf/blocklist.conf";
        };
    };
}
