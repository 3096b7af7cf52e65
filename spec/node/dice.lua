-- dice: random numbers that a seed repeats, on every machine (Park and Miller's generator).
-- SPDX-License-Identifier: Apache-2.0
local Dice = {}
Dice.__index = Dice

local MODULUS, FACTOR = 2147483647, 48271

function Dice:draw()
  self.state = self.state * FACTOR % MODULUS
  return self.state
end

-- A whole number from low to high.
function Dice:between(low, high)
  return low + math.floor(self:draw() / MODULUS * (high - low + 1))
end

-- As between, but each power of ten as likely as the next.
function Dice:magnitude(low, high)
  return math.floor(low * (high / low) ^ (self:draw() / MODULUS))
end

function Dice:chance(p)
  return self:draw() / MODULUS < p
end

function Dice:pick(list)
  return list[self:between(1, #list)]
end

return function(seed)
  local dice = setmetatable({ state = (seed * 7919 + 1) % (MODULUS - 1) + 1 }, Dice)
  for _ = 1, 8 do                       -- neighbouring seeds begin alike
    dice:draw()
  end
  return dice
end
