on.message(function(m) local t = { a = 1; [2] = "}" } end) --[==[ { ]==] x = f{[[}]]}{}
