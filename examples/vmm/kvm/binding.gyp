{
  "targets": [
    {
      "target_name": "kvm",
      "sources": ["kvm.c"],
      "defines": ["_GNU_SOURCE"],
      "cflags": ["-std=gnu11", "-Wall", "-Wextra"]
    }
  ]
}
