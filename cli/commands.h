// SPDX-License-Identifier: Apache-2.0
/* X(name, usage, summary): the commands of `skerry`; each is cli_NAME() in cli/NAME.c. */
X(version, "", "print the version")
X(image, "create|list|inspect|ls|tree|cat|cp|diff|delete ...",
  "make images of programs and look into them")
X(run, "PROGRAM|IMAGE [-p PORT] [-m SIZE] [-c FILE] [-a ARG] [-e K=V] ...",
  "run a program as a unikernel on this machine")
X(plan, "FILE [--json] [--control ADDRESS]", "show what up would change")
X(up, "FILE [--yes] [--json] [--timeout SECONDS] [--control ADDRESS]",
  "bring an app to where skerry.yaml says and wait until it serves")
X(down, "APP|FILE [--json] [--timeout SECONDS] [--control ADDRESS]",
  "take an app away; nothing is left of it")
X(status, "[--json] [--control ADDRESS]", "show apps, regions, instances and edges")
X(logs, "APP [-f] [--control ADDRESS]", "print what an app's instances print")
X(lab, "up|down|status|exec|cut|heal|set|settle|fetch|probe ...",
  "the planet on one machine: cities, links, BGP routers, faults")
