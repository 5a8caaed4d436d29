import hashlib
h=0
for i in range(3000000): h=((h<<5)^(h>>7)^(i*i)) & 0xffffffff
print('py bits', h)
x=0.5
for i in range(3000000): x=3.7*x*(1-x)
print('py chaos', repr(x))
d={}
for i in range(400000): d[(i*7919)%100003]=d.get((i*31)%100003,0)+i
print('py dict', len(d), sum(d.values())%1000000007)
def q(n,c=0,l=0,r=0):
    if c==(1<<n)-1: return 1
    s=0; p=~(c|l|r)&((1<<n)-1)
    while p:
        b=p&-p; p^=b; s+=q(n,c|b,((l|b)<<1),((r|b)>>1))
    return s
print('py queens', q(10))
for k in range(200):
    ns={}; exec('def f(a):\n return a*%d+%d'%(k,k*k),ns); f=ns['f']; s=0
    for i in range(2000): s+=f(i)
print('py made code', s, hashlib.sha256(str(s).encode()).hexdigest()[:16])
