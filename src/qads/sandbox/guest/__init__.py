"""What runs inside the sandbox. It imports the standard library alone, and nothing of qads outside this folder.

keeper   the warm interpreter of a worker; forks
└─ watcher   one a program: counts what it prints, looks at the clock, gives the verdict
   └─ first process   of the program's own namespaces; when it ends, all in them ends
      └─ program      limits, filter, no capabilities; then the text that a model wrote
"""
