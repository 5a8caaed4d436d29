local h=0; local bit=require'bit'
for i=1,5000000 do h=bit.bxor(bit.rol(h,5), i*i%65537) end
print('lua bits', h)
local t={}; for i=1,200000 do t[i]=(i*7919)%1000003 end table.sort(t)
local s=0; for i=1,#t do s=(s*31+t[i])%2147483647 end print('lua sort', s)
local f=setmetatable({},{__index=function(t,k) local v=k<2 and k or t[k-1]+t[k-2]; t[k]=v; return v end}) print('lua fib', f[80])
local x=0.5; for i=1,4000000 do x=3.7*x*(1-x) end print(string.format('lua chaos %.17g', x))
for r=1,300 do local code='return function(a) return a*'..r..'+'..(r*r)..' end'; local g=loadstring(code)(); local a=0; for i=1,2000 do a=(a+g(i))%1000003 end s=(s+a)%2147483647 end print('lua made code', s)
print("jit", (jit.status()))
