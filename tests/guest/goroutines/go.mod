// SPDX-License-Identifier: Apache-2.0
module skerry.test/goroutines

go 1.19
