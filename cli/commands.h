// SPDX-License-Identifier: Apache-2.0
/* X(name, usage, summary): the commands of `skerry`; each is cli_NAME() in cli/NAME.c. */
X(version, "", "print the version")
X(image, "create|list|inspect|ls|cat|delete ...", "make images of programs and look into them")
X(lab, "up|down|status|exec|cut|heal|set ...",
  "the planet on one machine: cities, links, BGP routers, faults")
