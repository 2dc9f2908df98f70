{
  # What it says is a file that is in the package, too. This one is not: npm and pnpm would compile a package
  # that has it, with or without a compiler, whatever its prebuilt addons.
  "includes": ["native/vfio.gypi"]
}
