# A formula for Homebrew on Linux. Untried: nobody has built or installed xdpmap with it. Its syntax was checked by Ruby.
#
#   brew install --HEAD --formula ./packaging/homebrew/xdpmap.rb
#
# It builds the tree that it is in. Homebrew gives a program no capabilities: see docs/tuning.md (Privileges).
class Xdpmap < Formula
  desc "Internet scanner on the Linux kernel's AF_XDP, with ZMap's flags and file formats"
  license any_of: ["MIT", "Apache-2.0"]
  head "file://#{File.expand_path("../..", __dir__)}", using: :git, branch: "main"

  depends_on "llvm" => :build
  depends_on "rust" => :build
  depends_on :linux

  def install
    # The XDP program is compiled by an LLVM that knows BPF, and the program itself by the system's compiler.
    ENV["XDPMAP_CLANG"] = Formula["llvm"].opt_bin/"clang"
    ENV["XDPMAP_LLVM_STRIP"] = Formula["llvm"].opt_bin/"llvm-strip"
    system "cargo", "install", *std_cargo_args(path: "scanner")

    %w[blocklist ctl iterate tee].each { |name| bin.install_symlink "xdpmap" => "xdpmap-#{name}" }
    pkgetc.install "conf/xdpmap.conf", "conf/blocklist.conf"
    (man1/"xdpmap.1").write Utils.safe_popen_read(bin/"xdpmap", "--generate", "man")
    %w[blocklist checkpoint ctl diff doctor iterate merge resume tee verify].each do |name|
      (man1/"xdpmap-#{name}.1").write Utils.safe_popen_read(bin/"xdpmap", "--generate", "man-#{name}")
    end
    (man5/"xdpmap.conf.5").write Utils.safe_popen_read(bin/"xdpmap", "--generate", "man-conf")
    generate_completions_from_executable(bin/"xdpmap", "--generate", shell_parameter_format: "complete-")
  end

  def caveats
    <<~EOS
      The block list is in #{pkgetc}, where xdpmap does not look for it. Give it to each scan:
        xdpmap -b #{pkgetc}/blocklist.conf ...
    EOS
  end

  test do
    # Three targets in their order; nothing is sent.
    assert_equal 3, shell_output("#{bin}/xdpmap iterate -n 3 -e 5").lines.length
  end
end
