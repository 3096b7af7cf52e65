---@meta spec
-- Annotations for the Lua language server: the words of specs, which are busted's
-- and luassert's. Nothing runs this file.
-- SPDX-License-Identifier: Apache-2.0

---a group of tests; `#tag` in a name is a tag
---@param name string
---@param body fun()
function describe(name, body) end
context, insulate, expose = describe, describe, describe

---a test; without a body it is pending
---@param name string
---@param body? fun()
function it(name, body) end
test, spec = it, it

---a test that does not run yet; inside of a test: it ends here, for this reason
---@param name? string
---@param body? fun()
function pending(name, body) end

---before each test of the group and of groups in it
---@param body fun()
function before_each(body) end
---@param body fun()
function after_each(body) end
---once, before the group's first test
---@param body fun()
function setup(body) end
---@param body fun()
function teardown(body) end
lazy_setup, strict_setup, lazy_teardown, strict_teardown = setup, setup, teardown, teardown

---after this test, however it ends
---@param body fun()
function finally(body) end
---the group's tests in an order drawn by the seed
function randomize() end

---`assert.are_not.same`, `assert.are_not_same` and `assert.not_same` are one: words are cut at dots and
---underscores; is, are, has, was, … mean nothing, not and no negate.
---@class assertions
---@field equal fun(expected: any, actual: any, message?: string) Lua's ==
---@field equals fun(expected: any, actual: any, message?: string)
---@field same fun(expected: any, actual: any, message?: string) tables by what they hold
---@field near fun(expected: number, actual: number, tolerance: number, message?: string)
---@field matches fun(pattern: string, actual: string, init?: integer, plain?: boolean)
---@field match fun(pattern: string, actual: string, init?: integer, plain?: boolean)
---@field unique fun(list: any[], deep?: boolean)
---@field is_true fun(actual: any, message?: string)
---@field is_false fun(actual: any, message?: string)
---@field is_nil fun(actual: any, message?: string)
---@field is_not_nil fun(actual: any, message?: string)
---@field truthy fun(actual: any, message?: string)
---@field falsy fun(actual: any, message?: string)
---@field is_string fun(actual: any)
---@field is_number fun(actual: any)
---@field is_table fun(actual: any)
---@field is_boolean fun(actual: any)
---@field is_function fun(actual: any)
---@field callable fun(actual: any)
---@field has_error fun(body: fun(), expected?: any)
---@field has_no_error fun(body: fun())
---@field error_matches fun(body: fun(), pattern: string, init?: integer, plain?: boolean)
---@field spy fun(spy: spy): assertions then called(n), called_with(…), called_at_least(n), returned_with(…)
---@field message fun(message: string): assertions
---@field [string] assertions
---@overload fun(value: any, message?: any, ...: any): any
assert = {}

---@class spy
---@field calls { vals: any[], refs: any[], returnvals: any[] }[]
---@field clear fun(self: spy): spy
---@field revert fun(self: spy)
---@overload fun(...: any): any

---a function that remembers how it was called; what `on` replaces comes back after the test
---@type { new: (fun(body?: function): spy), on: (fun(home: table, key: any): spy) }
spy = {}
---a spy that does nothing, or returns what it is given
---@param home table
---@param key any
---@return spy
function stub(home, key, ...) end
---each function of the table becomes a spy, or a stub
---@param home table
---@param stubbed? boolean
---@return table
function mock(home, stubbed) end
