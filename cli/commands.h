// SPDX-License-Identifier: Apache-2.0
/* X(name, usage, summary): the commands of `skerry`; each is cli_NAME() in cli/NAME.c. */
X(version, "", "print the version")
